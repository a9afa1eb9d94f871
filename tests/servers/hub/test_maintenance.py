"""Collecting, checking and copying a Hub's folder; pages that people look at."""

import os
import time

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download

from hfdistill.servers.hub.accounts import OPEN_USER
from hfdistill.servers.hub.maintenance import check, collect
from hfdistill.servers.hub.service import Hub


def push(api: HfApi, repo: str, **files: bytes) -> str:
    api.create_repo(repo, exist_ok=True)
    operations = [CommitOperationAdd(f"{name}.bin", data) for name, data in files.items()]
    return api.create_commit(repo, operations, commit_message="push").oid


@pytest.fixture
def api(start_hub) -> HfApi:
    running = start_hub()
    api = HfApi(endpoint=running.url, token="any")
    api.running = running
    return api


def sizes(hub: Hub) -> list[int]:
    return sorted(path.stat().st_size for path in hub.blobs.folder.glob("*/*/*"))


def test_gc_keeps_history_and_takes_the_rest(api) -> None:
    push(api, "gc/kept", a=os.urandom(100_001), b=os.urandom(100_002))
    api.create_commit("gc/kept", [CommitOperationDelete("b.bin")], commit_message="without b")
    push(api, "gc/gone", c=os.urandom(100_003))
    push(api, "gc/squashed", d=os.urandom(100_004))
    api.create_commit("gc/squashed", [CommitOperationDelete("d.bin")], commit_message="without d")
    api.create_branch("gc/kept", branch="side")
    api.upload_file(path_or_fileobj=os.urandom(100_005), path_in_repo="e.bin", repo_id="gc/kept", revision="side")
    hub = Hub(api.running.data)
    store = hub.xorbs.current("local")
    assert collect(hub, 0).blobs == 0
    api.delete_repo("gc/gone")
    api.delete_branch("gc/kept", branch="side")
    api.super_squash_history("gc/squashed")
    assert collect(hub, 3600).blobs == 0
    assert sizes(hub) == [100_001, 100_002, 100_003, 100_004, 100_005]
    removed = collect(hub, 0)
    # b is gone from main, but not from the history.
    assert removed.blobs == 3 and sizes(hub) == [100_001, 100_002]
    assert check(hub) == []
    # Xorbs went too; the client's memory of them is tied to the old address, so the same bytes can be pushed again.
    assert hub.xorbs.current("local") != store and list(hub.xorbs.folder.glob("*/*/*")) == []
    data = os.urandom(1_000_000)
    push(api, "gc/again", a=data)
    collect(hub, 0)
    api.delete_repo("gc/again")
    collect(hub, 0)
    push(api, "gc/again", a=data)
    assert check(hub) == []


def test_fsck_finds_what_is_wrong(api, run_command) -> None:
    push(api, "fsck/model", a=os.urandom(200_000), b=os.urandom(200_000))
    api.upload_file(path_or_fileobj=b"small", path_in_repo="small.txt", repo_id="fsck/model")
    data = api.running.data
    api.running.stop()
    hub = Hub(data)
    assert check(hub) == []
    first, second = sorted(hub.blobs.folder.glob("*/*/*"))
    content = bytearray(first.read_bytes())
    content[1000] ^= 1
    first.write_bytes(content)
    second.unlink()
    problems = check(hub)
    assert len(problems) == 2
    assert any(first.name in problem and "damaged" in problem for problem in problems)
    assert any(second.name in problem and "missing" in problem for problem in problems)
    assert len(check(hub, contents=False)) == 1
    with hub.database.write() as write:
        write.execute("DELETE FROM small_blobs")
        write.execute("UPDATE repos SET head = ?", ("0" * 40,))
    assert len(check(hub)) >= 4
    done = run_command("fsck", "--data", data)
    assert done.returncode == 1 and "problems" in done.stdout


def test_backup_of_a_served_hub(api, start_hub, run_command, tmp_path) -> None:
    files = {"a": os.urandom(300_000), "b": b"small"}
    push(api, "backup/model", **files)
    target = tmp_path / "copy"
    assert "copied 2 new" in run_command("backup", target, "--data", api.running.data).stdout
    files["c"] = os.urandom(300_001)
    push(api, "backup/model", c=files["c"])
    assert "copied 1 new" in run_command("backup", target, "--data", api.running.data).stdout
    assert "no problem" in run_command("fsck", "--data", target).stdout
    copy = start_hub(target)
    folder = snapshot_download(
        "backup/model", endpoint=copy.url, token="any", local_dir=tmp_path / "files", cache_dir=tmp_path / "cache"
    )
    for name, data in files.items():
        assert (tmp_path / "files" / f"{name}.bin").read_bytes() == data, folder
    # The copy has no xorbs, and says so by another address.
    push(HfApi(endpoint=copy.url, token="any"), "backup/more", a=files["a"])
    for bad in (api.running.data, api.running.data / "inside", tmp_path):
        refused = run_command("backup", bad, "--data", api.running.data)
        assert refused.returncode == 2 and "Traceback" not in refused.stderr


def test_a_wiped_hub_at_the_same_address(start_hub, tmp_path) -> None:
    """Clients remember what they sent to an address; a new Hub there must not suffer from it."""
    data = os.urandom(2_000_000)
    first = start_hub(tmp_path / "first")
    push(HfApi(endpoint=first.url, token="any"), "wipe/model", a=data)
    first.stop()
    second = start_hub(tmp_path / "second", port=int(first.url.rpartition(":")[2]))
    api = HfApi(endpoint=second.url, token="any")
    push(api, "wipe/model", a=data)
    assert api.file_exists("wipe/model", "a.bin")


def test_pages(api) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub.utils import get_session

    push(api, "pages/base", w=b"w")
    card = b"---\nbase_model: pages/base\nlicense: mit\n---\n# The card\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    api.create_repo("pages/model")
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="pages/model")
    api.create_repo("pages/data", repo_type="dataset")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"question": ["<b>one</b>", "two"], "votes": [[1, 2], None]}), sink)
    config = (
        b"---\nconfigs:\n- config_name: responses\n  data_files: [{split: train, path: responses/*.parquet}]\n---\n"
    )
    api.create_commit(
        "pages/data",
        [
            CommitOperationAdd("README.md", config),
            CommitOperationAdd("responses/x.parquet", sink.getvalue().to_pybytes()),
            CommitOperationAdd("bad/y.parquet", b"no parquet"),
        ],
        commit_message="data",
        repo_type="dataset",
    )
    made = api.create_collection("A run", namespace="pages")
    api.add_collection_item(made.slug, "pages/model", "model", note="the policy")
    api.create_discussion("pages/model", "a question", description="**why** <script>alert(1)</script>")

    def page(path: str, status: int = 200) -> str:
        answer = get_session().get(f"{api.endpoint}{path}", headers={"Accept": "text/html"})
        assert answer.status_code == status and answer.headers["content-type"].startswith("text/html"), path
        assert "<script" not in answer.text
        return answer.text

    assert "pages/model" in page("/") and "pages/model" in page("/models") and "pages/data" in page("/pages")
    model = page("/pages/model")
    assert "<h1>The card</h1>" in model and "<td>1</td>" in model and 'href="/pages/base"' in model
    assert "pages/model" in page("/models?filter=license%3Amit") and "pages/base" not in page("/models?search=model")
    rows = page("/datasets/pages/data")
    assert "&lt;b&gt;one&lt;/b&gt;" in rows and "[1, 2]" in rows and "responses/x.parquet" in rows
    assert "README.md" in page("/pages/model/tree/main") and "x.parquet" in page(
        "/datasets/pages/data/tree/main/responses"
    )
    assert "# The card" in page("/pages/model/blob/main/README.md")
    assert "initial commit" in page("/pages/model/commits/main")
    assert "a question" in page("/pages/model/discussions") and "<strong>why</strong>" in page(
        "/pages/model/discussions/1"
    )
    assert "the policy" in page(f"/collections/{made.slug}") and "A run" in page("/collections")
    for missing in (
        "/pages/none",
        "/none",
        "/pages/model/tree/none",
        "/pages/model/blob/main/none",
        "/collections/a/b-c",
    ):
        page(missing, 404)


def test_access_log_is_structured(api) -> None:
    push(api, "log/model", a=b"x")
    deadline = time.monotonic() + 5
    while not (lines := [line for line in api.running.requests() if "/commit/" in line["path"]]):
        assert time.monotonic() < deadline
    assert lines[0]["status"] == 200 and lines[0]["method"] == "POST" and lines[0]["user"] == "local"
    assert lines[0]["ms"] > 0 and len(lines[0]["id"]) == 24


def test_a_folder_of_an_earlier_version_is_served(tmp_path) -> None:
    hub = Hub(tmp_path / "data")
    hub.repositories.create(OPEN_USER, "model", "lab", "old", False, None)
    with hub.database.write() as write:
        write.execute("ALTER TABLE repos DROP COLUMN disabled")
    hub.close()
    again = Hub(tmp_path / "data")
    assert again.repositories.find("model", "lab", "old").disabled is False
    again.close()
