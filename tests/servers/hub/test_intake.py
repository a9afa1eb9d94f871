"""`hfdistill hub mirror` between two served Hubs."""

import hashlib
import json
import random
import time

import pytest

from hfdistill.servers.hub.service import Hub


WEIGHTS = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def source(start_hub, tmp_path):
    """A Hub with the private dataset `lab/rows` of alice: three commits, a branch, a tag and a large file."""
    state = Hub(tmp_path / "source")
    tokens = {"alice": state.accounts.create_token("alice", "default", "admin")}
    state.blobs.put(WEIGHTS, "alice")
    state.close()
    hub = start_hub(tmp_path / "source")
    hub.tokens = tokens
    ask(hub, "POST", "/api/repos/create", {"type": "dataset", "organization": "lab", "name": "rows", "private": True})
    commit(hub, hub.file("README.md", b"---\nlicense: mit\n---\n"), hub.file("a/long.txt", b"line\n" * 30_000))
    ask(hub, "POST", "/api/datasets/lab/rows/tag/main", {"tag": "v1"})
    large = {"path": "a/weights.bin", "algo": "sha256", "oid": SHA256, "size": len(WEIGHTS)}
    commit(hub, {"key": "lfsFile", "value": large}, hub.file("b", b"1"))
    ask(hub, "POST", "/api/datasets/lab/rows/branch/side", {"startingPoint": "v1"})
    commit(hub, {"key": "deletedFile", "value": {"path": "b"}})
    return hub


def ask(hub, method: str, path: str, body=None):
    token = hub.tokens.get("alice")
    status, _, content = hub.request(method, path, body, {"Authorization": f"Bearer {token}"} if token else {})
    assert status == 200, content
    return json.loads(content or b"{}")


def commit(hub, *operations: dict) -> None:
    lines = [{"key": "header", "value": {"summary": "a change", "description": "and why"}}, *operations]
    ask(hub, "POST", "/api/datasets/lab/rows/commit/main", "\n".join(map(json.dumps, lines)).encode())


def told(hub) -> list:
    """What a Hub tells of the dataset."""
    paths = ["refs", "commits/main", "commits/side", "tree/main?recursive=1&expand=1", "tree/v1?recursive=1&expand=1"]
    return [strip_dates(ask(hub, "GET", f"/api/datasets/lab/rows/{path}")) for path in paths]


def strip_dates(value):
    """Answers without the milliseconds of dates, which some clients drop."""
    if isinstance(value, dict):
        return {key: each[:19] if key == "date" else strip_dates(each) for key, each in value.items()}
    return [strip_dates(each) for each in value] if isinstance(value, list) else value


def downloads(hub) -> list[dict]:
    return [line for line in hub.requests() if "/resolve/" in line["path"]]


@pytest.fixture
def mirror(source, run_command, monkeypatch, tmp_path):
    """Copies the dataset to the folder `here`; returns what the command said."""
    monkeypatch.setenv("READ_TOKEN", source.tokens["alice"])

    def run(*more: str) -> str:
        where = ("--from", source.url, "--from_token_env", "READ_TOKEN", "--data", tmp_path / "here")
        done = run_command("mirror", "datasets/lab/rows", *where, *more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_a_mirror_tells_and_holds_the_same(source, mirror, start_hub, tmp_path):
    assert "4 commits and 4 files are new" in mirror()
    asked = len(downloads(source))
    assert asked == 4 and "0 commits and 0 files are new" in mirror() and len(downloads(source)) == asked
    here = start_hub(tmp_path / "here")
    assert told(here) == told(source)
    assert ask(here, "GET", "/api/datasets/lab/rows")["private"] is True
    assert here.request("GET", "/datasets/lab/rows/resolve/main/a/weights.bin")[2] == WEIGHTS
    commit(source, source.file("c", b"2"))
    assert "1 commits and 1 files are new" in mirror()
    assert told(here) == told(source)
    commit(here, here.file("own"))
    with pytest.raises(AssertionError, match="which the other Hub does not have: delete"):
        mirror()
    assert "no problem found" in here.fsck()


def test_a_file_goes_on_where_it_was_cut_off(source, mirror, tmp_path):
    (tmp_path / "here" / "intake").mkdir(parents=True)
    (tmp_path / "here" / "intake" / SHA256).write_bytes(WEIGHTS[:2_000_000])
    mirror()
    [line] = [line for line in downloads(source) if line["path"].endswith("weights.bin")]
    assert (line["status"], line["bytes"]) == (206, 1_000_000)
    state = Hub(tmp_path / "here")
    assert state.blobs.damage(SHA256, len(WEIGHTS)) is None and not list((tmp_path / "here" / "intake").iterdir())
    state.close()


@pytest.mark.slow
def test_a_revision_comes_alone_and_its_history_later(source, mirror, start_hub, tmp_path):
    assert "1 commits and 2 files are new" in mirror("--revision", "v1")
    here = start_hub(tmp_path / "here")
    assert [ref["name"] for ref in ask(here, "GET", "/api/datasets/lab/rows/refs")["tags"]] == ["v1"]
    assert len(ask(here, "GET", "/api/datasets/lab/rows/commits/v1")) == 1
    mirror("--revision", "main")
    commit(source, source.file("c", b"2"))
    mirror("--revision", "main")
    mirror()
    assert told(here) == told(source)


@pytest.mark.slow
def test_kills_lose_nothing(source, start_command, mirror, start_hub, tmp_path):
    where = ("--from", source.url, "--from_token_env", "READ_TOKEN", "--data", tmp_path / "here")
    for number in range(12):
        process = start_command("mirror", "datasets/lab/rows", *where)
        time.sleep(0.6 + number * 0.1)
        process.kill()
        process.communicate()
    mirror()
    here = start_hub(tmp_path / "here")
    assert told(here) == told(source)
    assert "no problem found" in here.fsck()


@pytest.mark.slow
def test_a_collection_comes_with_its_repositories(source, run_command, monkeypatch, start_hub, tmp_path):
    monkeypatch.setenv("READ_TOKEN", source.tokens["alice"])
    made = ask(source, "POST", "/api/collections", {"title": "hfdistill: words", "namespace": "lab", "private": True})
    item = {"item": {"type": "dataset", "id": "lab/rows"}, "note": "the rows"}
    ask(source, "POST", f"/api/collections/{made['slug']}/items", item)
    where = ("--from", source.url, "--from_token_env", "READ_TOKEN", "--data", tmp_path / "here")
    for name in (f"collections/{made['slug']}", "runs/lab/words"):
        done = run_command("mirror", name, *where)
        assert done.returncode == 0 and ": 1 repositories" in done.stdout, done.stdout + done.stderr
    here = start_hub(tmp_path / "here")
    [copy] = ask(here, "GET", "/api/collections?owner=lab")
    assert [(each["id"], each["note"]["text"]) for each in copy["items"]] == [("lab/rows", "the rows")]
    done = run_command("mirror", "none", *where)
    assert done.returncode and "names nothing to copy: write namespace/name" in done.stderr
