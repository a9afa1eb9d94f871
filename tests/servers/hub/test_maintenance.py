"""Collecting, checking and copying a Hub's folder; pages that people look at."""

import hashlib
import json
import os
import shutil
import time
from io import BytesIO
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download

from hfdistill.servers.hub.accounts import OPEN_USER
from hfdistill.servers.hub.commits import read_push
from hfdistill.servers.hub.direct_files import put
from hfdistill.servers.hub.maintenance import check, collect, leftovers
from hfdistill.servers.hub.repositories import MAIN
from hfdistill.servers.hub.service import Hub
from hfdistill.servers.hub.xet import Unpacker

from .conftest import RunningHub, push
from .xet_uploads import Xorb, content, flipped, large_file, shard


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


def test_gc_leaves_what_a_commit_in_progress_needs(api) -> None:
    """A file was sent long ago, and its client has just been told that it need not be sent again."""
    repo = api.create_repo("gc/slow").repo_id
    data, dead = os.urandom(100_000), os.urandom(100_000)
    hub = Hub(api.running.data)
    sha256, unused = (hub.blobs.put(content, "local") for content in (data, dead))
    for path in hub.blobs.folder.glob("*/*/*"):
        os.utime(path, (1e9, 1e9))
    with hub.database.write() as write:
        write.execute("UPDATE uploads SET created_at = '2001-09-09T01:46:40.000Z'")
    batch = {"operation": "upload", "objects": [{"oid": sha256, "size": len(data)}]}
    answer = api.running.request("POST", f"/{repo}.git/info/lfs/objects/batch", batch)[2]
    assert b"actions" not in answer
    assert collect(hub, 3600).blobs == 1
    assert hub.blobs.find(unused) is None and leftovers(hub) == []
    assert hub.database.row("SELECT user FROM uploads WHERE sha256 = ?", sha256)["user"] == "local"
    assert api.running.commit(repo, large_file("a.bin", data))[0] == 200


@pytest.fixture
def planted(tmp_path):
    """A Hub with a small, a large and a linked file in a commit and a large one in none; and their sha256s by name."""
    hub = Hub(tmp_path / "hub")
    user = OPEN_USER
    repo, _ = hub.repositories.create(user, "model", "fsck", "model", private=False, sdk=None)
    xorb = Xorb([os.urandom(250_000) for _ in range(5)])
    with hub.blobs.receive(hashed=False) as incoming:
        unpacker = Unpacker(incoming)
        put(xorb.body, unpacker)
        unpacker.finish(xorb.name)
        hub.xorbs.keep(hub.xorbs.current(user.name), xorb.name, incoming)
    hub.xorbs.take_shard(hub.xorbs.current(user.name), BytesIO(shard([xorb.segment()])), user.name)
    linked, large, free = content([xorb.segment()]), os.urandom(90_000), os.urandom(80_000)
    hub.blobs.put(large, user.name)
    hub.blobs.put(free, user.name)
    lines = [
        {"key": "header", "value": {"summary": "push"}},
        RunningHub.file("small.txt", b"small"),
        large_file("linked.bin", linked),
        large_file("large.bin", large),
    ]
    push = read_push(BytesIO(b"\n".join(json.dumps(line).encode() for line in lines)), hub.blobs, user)
    hub.committer.commit(user, repo, MAIN, push)
    assert check(hub) == [] and leftovers(hub) == []
    files = {"linked": linked, "large": large, "free": free}
    yield hub, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    hub.close()


def flip(path: Path) -> None:
    path.write_bytes(flipped(path.read_bytes(), 1000))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def move(path: Path) -> None:
    (path.parents[2] / "00/00").mkdir(parents=True)
    path.rename(path.parents[2] / "00/00" / path.name)


def rename(path: Path) -> None:
    path.rename(path.with_name(path.name[:-4] + "0000"))


# The file, the ending of its name on disk, what is done to it, what is said of it, and where it is in use.
DAMAGES = {
    "a byte of a content": ("large", "", flip, ["content {} is damaged: its sha256 is"], "large.bin of fsck/model"),
    "a byte of a content in no commit": ("free", "", flip, ["content {} is damaged"], ""),
    "a byte of a linked content": ("linked", ".0", flip, ["content {} is damaged", "xorb "], "linked.bin of"),
    "the end of a content": ("large", "", cut, ["content {} has 45000 bytes instead of 90000"], "large.bin of"),
    "the end of a linked content": (
        "linked",
        ".0",
        cut,
        ["a part of content {} is missing or", "xorb "],
        "",
    ),
    "a content": ("large", "", Path.unlink, ["content {} is missing"], "large.bin of"),
    "a part of a content": ("linked", ".0", Path.unlink, ["a part of content {} is missing or cut short"], ""),
    "the list of parts": ("linked", ".parts", Path.unlink, ["content {} is missing"], ""),
    "the text of the list": ("linked", ".parts", cut, ["The list of the parts of content {} is damaged"], ""),
    "a folder": ("free", "", move, ["{} is no content's place"], ""),
    "a name": ("free", "", rename, ["0000 is damaged"], ""),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_fsck_names_each_damage(planted, what: str) -> None:
    name, suffix, damage, expected, place = DAMAGES[what]
    hub, hashes = planted
    damage(hub.blobs.path(hashes[name]).with_suffix(suffix))
    problems = check(hub)
    assert len(problems) == len(expected) and place in problems[0]
    for problem, part in zip(problems, expected, strict=True):
        assert part.format(hashes[name]) in problem


def test_fsck_checks_the_database_and_xorbs(planted, run_command) -> None:
    hub, _ = planted
    (xorb,) = hub.xorbs.folder.glob("*/*/*")
    xorb.rename(xorb.with_name("0" * 64))
    assert check(hub) == [f"xorb {'0' * 64} of store {xorb.parents[1].name} is damaged"]
    shutil.rmtree(hub.xorbs.folder)
    hub.xorbs.folder.mkdir()
    with hub.database.write() as write:
        write.execute("UPDATE small_blobs SET data = X'536D616C6C'")
        write.execute("UPDATE repos SET head = ?", ("0" * 40,))
    problems = check(hub)
    assert any("is damaged: its sha256 is" in problem for problem in problems)
    assert any("the listing says 000" in problem for problem in problems)
    with hub.database.write() as write:
        write.execute("DELETE FROM small_blobs")
        write.execute("DELETE FROM trees")
    assert any("tree " in problem and problem.endswith("is missing") for problem in check(hub))
    done = run_command("fsck", "--data", hub.data_dir)
    assert done.returncode == 1 and "problems" in done.stdout


def test_fsck_tells_leftovers_from_damage(planted, run_command) -> None:
    """A row without a file, a file without a row, parts without their list: what kills leave, and collections take."""
    hub, hashes = planted
    sha256 = hashes["free"]
    gone = hub.blobs.put(b"gone" * 30_000, "local")
    hub.blobs.path(gone).unlink()
    with hub.database.write() as write:
        write.execute("DELETE FROM uploads WHERE sha256 = ?", (sha256,))
    link = hub.blobs.path("ab" * 32).with_suffix(".0")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.write_bytes(b"part")
    assert check(hub) == []
    assert set(leftovers(hub)) == {
        f"content {gone} was sent, and is not there",
        f"content {sha256} was sent by nobody and is in no commit",
        f"content {'ab' * 32} has parts, and no list of them",
    }
    done = run_command("fsck", "--data", hub.data_dir)
    assert done.returncode == 0 and "3 leftovers" in done.stdout and "no problem found" in done.stdout
    collect(hub, 0)
    assert leftovers(hub) == [] and check(hub) == []


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
        write.execute("DROP TABLE tag_messages")
    hub.close()
    again = Hub(tmp_path / "data")
    repo = again.repositories.find("model", "lab", "old")
    assert repo.disabled is False
    again.repositories.create_ref(repo, "refs/tags/v1", repo.head, "one", "alice")
    again.repositories.delete_ref(repo, "refs/tags/v1")
    assert again.database.rows("SELECT * FROM tag_messages") == []
    again.close()
