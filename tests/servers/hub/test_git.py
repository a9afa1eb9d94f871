"""`git clone` and `git lfs pull` of what came in by the API, by git itself."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfdistill.servers.hub.accounts import OPEN_USER
from hfdistill.servers.hub.blobs import SMALL
from hfdistill.servers.hub.commits import Push
from hfdistill.servers.hub.database import new_oid, now
from hfdistill.servers.hub.git_names import ATTRIBUTES
from hfdistill.servers.hub.history import Commit
from hfdistill.servers.hub.maintenance import collect
from hfdistill.servers.hub.repositories import MAIN
from hfdistill.servers.hub.service import Hub
from hfdistill.servers.hub.trees import LARGE


WEIGHTS = bytes(range(256)) * 400
NEEDS_LFS = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
Git = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Runs git as a user has it who keeps no settings and is asked for nothing."""

    def run(*arguments: object, cwd: Path = tmp_path, fails: bool = False, **environment: str):
        home = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        done = subprocess.run(
            ["git", *map(str, arguments)],
            cwd=cwd,
            env={"PATH": os.environ["PATH"], **home, **environment},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done

    return run


class Owner:
    """A closed Hub's user, by raw requests."""

    def __init__(self, hub, token: str):
        self.hub, self.token = hub, token

    def __call__(self, method: str, path: str, body=None) -> dict:
        status, _, content = self.hub.request(method, path, body, {"Authorization": f"Bearer {self.token}"})
        assert status == 200, content
        return json.loads(content) if content else {}

    def commit(self, repo: str, *operations: dict, query: str = "") -> str:
        lines = [{"key": "header", "value": {"summary": "a change", "description": "and why"}}, *operations]
        body = "\n".join(map(json.dumps, lines)).encode()
        return self("POST", f"/api/models/{repo}/commit/main{query}", body)["commitOid"]

    def large(self, repo: str, path: str, data: bytes) -> dict:
        """Uploads by LFS and returns the operation that puts the content to `path`."""
        sha256 = hashlib.sha256(data).hexdigest()
        body = {"operation": "upload", "objects": [{"oid": sha256, "size": len(data)}]}
        answer = self("POST", f"/{repo}.git/info/lfs/objects/batch", body)["objects"][0]
        if "actions" in answer:
            address = urlsplit(answer["actions"]["upload"]["href"])
            self("PUT", f"{address.path}?{address.query}", data)
        return {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": sha256, "size": len(data)}}

    def url(self, path: str) -> str:
        return f"http://anybody:{self.token}@{urlsplit(self.hub.url).netloc}/{path}"


@pytest.fixture(scope="module")
def owner(served, tmp_path_factory) -> Owner:
    """Whose private model `alice/model` has a history with branches, a tag, pull requests and large files."""
    data = tmp_path_factory.mktemp("git") / "data"
    token = Hub(data).accounts.create_token("alice", "default", "write")
    Hub(data).accounts.create_token("bob", "default", "write")
    owner = Owner(served(data), token)
    file = owner.hub.file
    owner("POST", "/api/repos/create", {"name": "model", "private": True})
    first = owner.commit(
        "alice/model",
        file("README.md", b"# hello"),
        file("a.b", b"sorts before the folder a"),
        file('a/ü "quoted".txt', b"x" * (SMALL + 1)),
        owner.large("alice/model", "model.safetensors", WEIGHTS),
        owner.large("alice/model", "odd names/one [1].bin", b"large"),
        file("odd names/two.bin", b"small"),
    )
    owner("POST", f"/api/models/alice/model/tag/{first}", {"tag": "v1"})
    owner("POST", "/api/models/alice/model/branch/dev%2Fone")
    owner.commit("alice/model", {"key": "deletedFile", "value": {"path": "README.md"}}, file("README.md/is", b"now"))
    owner.commit("alice/model", file("proposed.txt"), query="?create_pr=1")
    owner("POST", "/api/models/alice/model/discussions/1/merge")
    owner.commit("alice/model", file("open.txt"), query="?create_pr=1")
    return owner


def files_of_main(git: Git, folder: Path) -> dict[str, str]:
    """git's ids of the files of `main` by path."""
    lines = git("ls-tree", "-r", "-z", "main", cwd=folder).stdout.split("\0")[:-1]
    return {path: about.split()[2] for about, path in (line.split("\t") for line in lines)}


def refs_of(owner: Owner) -> dict[str, str]:
    answer = owner("GET", "/api/models/alice/model/refs?include_prs=1")
    return {ref["ref"]: ref["targetCommit"] for part in answer.values() for ref in part}


def test_a_clone_shows_the_ids_refs_and_files_of_the_api(owner, git, tmp_path):
    git("clone", "--quiet", "--mirror", owner.url("alice/model"), "mirror")
    mirror = tmp_path / "mirror"
    git("fsck", "--strict", cwd=mirror)
    shown = dict(reversed(line.split()) for line in git("show-ref", cwd=mirror).stdout.splitlines())
    assert shown == refs_of(owner) and len(shown) == 5
    commits = owner("GET", "/api/models/alice/model/commits/main")
    log = git("log", "--first-parent", "--format=%H %an %s", "main", cwd=mirror).stdout.splitlines()
    assert log == [f"{commit['id']} alice {commit['title']}" for commit in commits]
    assert git("log", "-1", "--format=%b", "v1", cwd=mirror).stdout.strip() == "and why"
    listed = {item["path"]: item["oid"] for item in owner("GET", "/api/models/alice/model/tree/main?recursive=1")}
    cloned = files_of_main(git, mirror)
    added = cloned.keys() - listed.keys()
    assert added == {ATTRIBUTES, f"odd names/{ATTRIBUTES}"}
    assert all(listed[path] == cloned[path] for path in cloned.keys() - added)


def test_a_second_fetch_brings_what_is_new(owner, git, tmp_path):
    owner("POST", "/api/repos/create", {"name": "grows"})
    git("clone", "--quiet", f"{owner.hub.url}/alice/grows.git", "grows")
    made = owner.commit("alice/grows", owner.hub.file("new.txt"))
    git("pull", "--quiet", cwd=tmp_path / "grows")
    assert git("rev-parse", "HEAD", cwd=tmp_path / "grows").stdout.strip() == made
    owner("POST", "/api/models/alice/grows/tag/main", {"tag": "v1", "message": "The first.\n\nIt grows."})
    git("fetch", "--quiet", "--tags", cwd=tmp_path / "grows")
    assert git(
        "for-each-ref", "refs/tags", "--format=%(objecttype) %(taggername) %(contents)", cwd=tmp_path / "grows"
    ).stdout == ("tag alice The first.\n\nIt grows.\n\n")
    assert git("rev-parse", "v1^{commit}", cwd=tmp_path / "grows").stdout.strip() == made
    git("clone", "--quiet", "--depth=1", f"{owner.hub.url}/alice/grows", "shallow")
    assert git("rev-list", "--count", "HEAD", cwd=tmp_path / "shallow").stdout.strip() == "1"


def test_who_may_not_read_may_not_clone(owner, git):
    assert "could not read Username" in git("clone", f"{owner.hub.url}/alice/model", fails=True).stderr
    wrong = owner.url("alice/model").replace(owner.token, "hf_wrong")
    assert "Authentication failed" in git("clone", wrong, fails=True).stderr
    assert "not found" in git("clone", owner.url("alice/none"), fails=True).stderr


def test_a_push_is_refused_in_words(owner, git, tmp_path):
    git("clone", "--quiet", owner.url("alice/model"), "pushed", GIT_LFS_SKIP_SMUDGE="1")
    assert "no push over git: upload with `hf upload`" in git("push", cwd=tmp_path / "pushed", fails=True).stderr


@NEEDS_LFS
def test_lfs_pull_brings_the_large_files(owner, git, tmp_path):
    git("lfs", "install", "--skip-repo")
    git("clone", "--quiet", owner.url("alice/model"), "pulled", GIT_LFS_SKIP_SMUDGE="1")
    pulled = tmp_path / "pulled"
    assert (pulled / "model.safetensors").stat().st_size < 200
    git("lfs", "pull", cwd=pulled)
    assert (pulled / "model.safetensors").read_bytes() == WEIGHTS
    assert (pulled / "odd names/one [1].bin").read_bytes() == b"large"
    assert (pulled / "odd names/two.bin").read_bytes() == b"small"
    assert git("status", "--short", cwd=pulled).stdout == ""


FOLDERS = ["a", "a.b", "a-b", "b.bin", "ü x"]
NAMES = [*FOLDERS, "c.bin", 'q"x[*].bin', ATTRIBUTES]
PATHS = st.tuples(st.lists(st.sampled_from(FOLDERS), max_size=2), st.sampled_from(NAMES)).map(
    lambda parts: "/".join([*parts[0], parts[1]])
)
EDITS = st.lists(st.tuples(PATHS, st.sampled_from([b"1", b"2", LARGE, None])), min_size=1, max_size=4)


@given(history=st.lists(EDITS, min_size=1, max_size=5))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_history_is_the_same_in_git(history, tmp_path_factory, git):
    hub = Hub(tmp_path_factory.mktemp("history") / "data")
    repo, _ = hub.repositories.create(OPEN_USER, "model", "any", "repo", False, None)
    large = hub.blobs.put(WEIGHTS, OPEN_USER.name)
    for edits in history:
        commit_edits(hub, repo, edits, large)
        if len(edits) > 2:
            hub.git.update(repo)
    bare = hub.git.update(repo)
    git("fsck", "--strict", cwd=bare)
    head = hub.repositories.resolve(repo, MAIN)
    assert git("rev-parse", "main", cwd=bare).stdout.strip() == head.oid
    stored = {path: entry.oid for path, entry in hub.trees.files(head.tree)}
    cloned = files_of_main(git, bare)
    without = {path: oid for path, oid in cloned.items() if not path.endswith(ATTRIBUTES)}
    assert without == {path: oid for path, oid in stored.items() if not path.endswith(ATTRIBUTES)}
    hub.close()


def commit_edits(hub: Hub, repo, edits: list, large: str) -> None:
    """One commit; edits that its tree does not allow are left out."""
    taken = {path for path, _ in hub.trees.files(hub.repositories.resolve(repo, MAIN).tree)}
    push = Push(title="edits")
    for path, what in edits:
        clash = any(
            other != path and (other.startswith(f"{path}/") or path.startswith(f"{other}/")) for other in taken
        )
        if what is None:
            if path in taken and not any(operation[1] == path for operation in push.operations):
                push.operations.append(("delete", path, False))
        elif not clash:
            taken.add(path)
            if what == LARGE:
                push.operations.append(("large", path, large, None))
            else:
                sha256 = hashlib.sha256(what).hexdigest()
                push.contents[sha256] = what
                oid = hashlib.sha1(b"blob %d\0" % len(what) + what).hexdigest()
                push.operations.append(("file", path, oid, len(what), sha256))
    hub.committer.commit(OPEN_USER, repo, MAIN, push)


def test_a_drawn_id_stands_in_the_message(tmp_path, git):
    """Commits of earlier versions, and those of other Hubs, keep the ids by which people know them."""
    hub = Hub(tmp_path / "data")
    repo, _ = hub.repositories.create(OPEN_USER, "model", "any", "repo", False, None)
    drawn = Commit(
        repo.id, new_oid(), hub.repositories.resolve(repo, MAIN).tree, repo.head, None, "old", "", "x", now()
    )
    with hub.database.write() as write:
        hub.repositories.insert_commit(write, drawn)
        hub.repositories.move_ref(write, repo, MAIN, drawn)
    bare = hub.git.update(repo)
    assert git("log", "-1", "--format=%B", "main", cwd=bare).stdout.strip() == f"old\n\nHub-Commit: {drawn.oid}"
    commit_edits(hub, repo, [("a", b"1")], "")
    hub.git.update(repo)
    assert git("rev-parse", "main", cwd=bare).stdout.strip() == hub.repositories.resolve(repo, MAIN).oid
    assert hub.repositories.resolve(repo, drawn.oid).title == "old"
    hub.close()


def test_what_is_collected_is_gone_from_git_too(tmp_path, git):
    hub = Hub(tmp_path / "data")
    repo, _ = hub.repositories.create(OPEN_USER, "model", "any", "repo", False, None)
    commit_edits(hub, repo, [("secret", b"1")], "")
    lost = hub.repositories.resolve(repo, MAIN).oid
    bare = hub.git.update(repo)
    commit_edits(hub, repo, [("secret", None)], "")
    hub.committer.squash(OPEN_USER, repo, MAIN, "start again")
    assert collect(hub, grace=-1).commits > 0
    assert hub.git.update(repo) == bare
    git("cat-file", "-e", lost, cwd=bare, fails=True)
    git("cat-file", "-e", "main", cwd=bare)
    hub.close()


def test_a_request_that_unpacks_without_end(hub) -> None:
    repo = hub.create("packed")
    head = json.loads(hub.request("GET", f"/api/models/{repo}")[2])["sha"]
    wants = f"0032want {head}\n".encode()
    path, headers = f"/{repo}/git-upload-pack", {"Content-Encoding": "gzip"}
    assert b"NAK" in hub.request("POST", path, gzip.compress(wants + b"00000009done\n"), headers)[2]
    assert hub.request("POST", path, gzip.compress(wants * 400_000), headers)[0] == 413
    assert hub.request("POST", path, wants, headers)[0] == 400
