"""Cards, tables and comments that keep their reader busy, fill its memory or end it."""

import contextlib
import io
import json
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hfdistill.servers.hub.contents import Blob
from hfdistill.servers.hub.readers import Readers, ReadingError


NESTED = "---\nlicense: mit\n---\n" + "<div>" * 200_000
DOUBLED = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 30)}]}}\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.fixture(scope="module")
def readers():
    readers = Readers(2)
    yield readers
    readers.close()


def blob(content: str | bytes) -> Blob:
    data = content.encode() if isinstance(content, str) else content
    return Blob(len(data), data)


def parquet_of_one_long_word() -> bytes:
    """A few kilobytes that stand for 800 MB."""
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 40, pa.int32()), pa.array(["x" * 20_000_000]))
    file = io.BytesIO()
    pq.write_table(pa.table({"word": words}), file, compression="zstd", store_schema=False, write_statistics=False)
    return file.getvalue()


@pytest.mark.parametrize(
    ("job", "arguments", "why"),
    [
        ("rows", ("a.jsonl", blob("[" * 400_000)), "nested too deep"),
        ("rows", ("a.jsonl", blob(b'{"a": "' + b"y" * 1_200_000 + b'"}\n')), "its first row is over"),
        ("rows", ("a.parquet", blob(b"PAR1" + bytes(100) + b"PAR1")), "not what its name says"),
        ("config", (blob("[" * 200_000),), "nested too deep"),
        ("card", (blob(f"---\n? {'- ' * 200_000}\n---\n"),), "too long or too much memory"),
        ("card", (blob(f"---\n{DOUBLED}\n---\n"),), "too long or too much memory"),
    ],
)
def test_what_cannot_be_read_is_said(readers, job: str, arguments: tuple, why: str) -> None:
    with pytest.raises(ReadingError, match=why):
        readers.read("ada", job, *arguments)


def test_a_small_file_that_stands_for_a_large_one(readers) -> None:
    data = parquet_of_one_long_word()
    assert len(data) < 10_000
    with pytest.raises(ReadingError):
        readers.read("ada", "rows", "a.parquet", blob(data))
    assert readers.read("ada", "rows", "a.jsonl", blob('{"a": 1}\n\n{"a": 2}')) == {
        "path": "a.jsonl",
        "columns": ["a"],
        "rows": [["1"], ["2"]],
    }


def test_an_answer_is_kept_and_a_process_that_is_gone_comes_again() -> None:
    readers = Readers(1)
    assert readers.read("ada", "comment", "*a*", key="a") == "<p><em>a</em></p>\n"
    (process,) = readers._idle
    process._process.kill()
    process._process.wait()
    assert readers.read("ada", "comment", "b", key="a") == "<p><em>a</em></p>\n"
    assert readers.read("ada", "comment", "*b*", key="b") == "<p><em>b</em></p>\n"
    readers.close()


def test_the_processes_know_no_token_of_whoever_runs_the_hub(monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    readers = Readers(1)
    readers.read("ada", "comment", "a")
    assert b"hf_secret" not in Path(f"/proc/{readers._idle[0]._process.pid}/environ").read_bytes()
    readers.close()


def test_a_user_who_keeps_a_reader_busy_leaves_the_other_to_others() -> None:
    readers = Readers(2)
    ended: list[str] = []

    def read(user: str, job: str, *arguments) -> None:
        with contextlib.suppress(ReadingError):
            readers.read(user, job, *arguments)
        ended.append(user)

    mallory = threading.Thread(target=read, args=("mallory", "page", blob(NESTED), "/m/x"))
    mallory.start()
    read("ada", "comment", "a")
    mallory.join()
    readers.close()
    assert ended == ["ada", "mallory"]


def test_a_hub_shows_what_it_cannot_render_and_goes_on(hub) -> None:
    repo = hub.create("nested", type="dataset")
    lines = [{"key": "header", "value": {"summary": "x"}}, hub.file("README.md", NESTED.encode())]
    lines.append(hub.file("rows.jsonl", b"[" * 60_000))
    body = "\n".join(map(json.dumps, lines)).encode()
    assert hub.request("POST", f"/api/datasets/{repo}/commit/main", body)[0] == 200
    assert json.loads(hub.request("GET", f"/api/datasets/{repo}")[2])["cardData"] == {"license": "mit"}
    status, _, content = hub.request("GET", f"/datasets/{repo}", headers={"Accept": "text/html"})
    page = content.decode()
    assert status == 200 and "cannot be rendered: it takes too long" in page and "&lt;div&gt;" in page
    assert "They cannot be shown: it is nested too deep." in page
    assert hub.memory() < 200


def test_a_killed_hub_leaves_no_reader_behind(start_hub) -> None:
    hub = start_hub()
    repo = hub.create("left")
    assert hub.commit(repo, hub.file("README.md", b"# a"))[0] == 200
    readers = [pid for pid, (_, parent) in processes().items() if parent == str(hub.process.pid)]
    assert readers
    hub.kill()
    deadline = time.monotonic() + 20
    while (left := [pid for pid in readers if processes().get(pid, "Z")[0] != "Z"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def processes() -> dict[str, list[str]]:
    """State and parent of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found[path.name] = path.joinpath("stat").read_text().rpartition(")")[2].split()[:2]
    return found
