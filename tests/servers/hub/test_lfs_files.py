"""Large files of a repository, taken out of every commit for good."""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.servers.hub import lfs_files
from hfdistill.servers.hub.accounts import OPEN_USER
from hfdistill.servers.hub.commits import Push
from hfdistill.servers.hub.errors import HubError
from hfdistill.servers.hub.maintenance import check, collect
from hfdistill.servers.hub.service import Hub


CONTENTS = tuple(bytes([number]) * 100 for number in range(4))
SHA256 = [hashlib.sha256(content).hexdigest() for content in CONTENTS]
PATHS = ("a.bin", "b.bin", "folder/a.bin", "folder/deep/c.bin")


@pytest.fixture
def store(tmp_path):
    hub = Hub(tmp_path / "data")
    yield hub
    hub.close()


def make(hub: Hub, name: str):
    return hub.repositories.create(OPEN_USER, "model", "lab", name, False, None)[0]


def operation(hub: Hub, path: str, content: int | None) -> tuple:
    if content is None:
        return "delete", path, False
    return "large", path, hub.blobs.put(CONTENTS[content], OPEN_USER.name), len(CONTENTS[content])


def push(hub: Hub, repo, branch: str, *operations: tuple) -> str:
    made = Push(f"{len(operations)} changes", operations=list(operations))
    with hub.database.write() as write:
        start = hub.repositories.resolve(repo, "main").oid
        return hub.committer.apply(write, OPEN_USER, repo, f"refs/heads/{branch}", made, start=start).oid


def files(hub: Hub, repo, revision: str) -> dict[str, str]:
    return {path: entry.sha256 for path, entry in hub.trees.files(hub.repositories.resolve(repo, revision).tree)}


def oids(hub: Hub, repo) -> set[str]:
    return {row["oid"] for row in hub.database.rows("SELECT oid FROM commits WHERE repo_id = ?", repo.id)}


def test_everything_that_names_a_commit_follows_it(store) -> None:
    repo, other = make(store, "one"), make(store, "other")
    push(store, other, "main", operation(store, "kept.bin", 0))
    first = push(store, repo, "main", operation(store, "a.bin", 1), operation(store, "README.bin", 2))
    store.repositories.create_ref(repo, "refs/tags/v1", first)
    change = Push("proposed", operations=[operation(store, "a.bin", 0)])
    num, proposed = store.discussions.open_with_commit(OPEN_USER, repo, "main", change)
    merged = store.discussions.merge(OPEN_USER, repo, store.discussions.get(repo, num), None)
    last = push(store, repo, "main", operation(store, "a.bin", None))
    before = oids(store, repo)

    store.large_files.delete(repo, {SHA256[0]})
    with pytest.raises(HubError, match="Invalid rev id"):
        store.repositories.resolve(repo, proposed.oid)
    assert first in oids(store, repo) and len(oids(store, repo)) == len(before)
    assert not {proposed.oid, merged.oid, last} & oids(store, repo)
    pull = store.discussions.get(repo, num)
    assert pull.base_oid == first and store.repositories.resolve(repo, pull.merge_oid).merged
    told = next(row["data"] for row in store.discussions.events(pull) if row["type"] == "commit")
    assert store.repositories.resolve(repo, pull.ref).oid in told
    assert files(store, repo, "v1") == {"a.bin": SHA256[1], "README.bin": SHA256[2]}
    assert files(store, repo, "main") == files(store, repo, pull.ref) == {"README.bin": SHA256[2]}
    assert store.repositories.find("model", "lab", "one").head == store.repositories.resolve(repo, "main").oid
    assert {row["sha256"] for row in store.large_files.listed(repo, 10, 0)} == {SHA256[1], SHA256[2]}
    assert files(store, other, "main") == {"kept.bin": SHA256[0]}

    store.large_files.delete(repo, {SHA256[1]})
    assert files(store, repo, "v1") == {"README.bin": SHA256[2]}
    collect(store, grace=-1)
    assert store.blobs.find(SHA256[1]) is None and store.blobs.find(SHA256[0]).read() == CONTENTS[0]
    assert check(store) == []


def test_what_cannot_be_deleted(store, monkeypatch) -> None:
    repo = make(store, "one")
    push(store, repo, "main", operation(store, "a.bin", 0))
    before = oids(store, repo)
    with pytest.raises(HubError, match=f"holds no large file {SHA256[1]}"):
        store.large_files.delete(repo, {SHA256[0], SHA256[1]})
    monkeypatch.setattr(lfs_files, "MAX_READ", 0)
    with pytest.raises(HubError, match="squash it first"):
        store.large_files.delete(repo, {SHA256[0]})
    assert oids(store, repo) == before and files(store, repo, "main") == {"a.bin": SHA256[0]}


@settings(max_examples=10, deadline=None)
@given(
    history=st.lists(
        st.tuples(st.sampled_from(("main", "x", "y")), st.dictionaries(st.sampled_from(PATHS), st.integers(0, 3))),
        min_size=1,
        max_size=6,
    ),
    doomed=st.sets(st.integers(0, 3), min_size=1, max_size=3),
)
def test_only_what_is_doomed_goes(history, doomed) -> None:
    with TemporaryDirectory() as folder:
        hub = Hub(Path(folder) / "data")
        repo = make(hub, "one")
        for branch, changes in history:
            push(hub, repo, branch, *(operation(hub, path, content) for path, content in changes.items()))
        gone = {SHA256[content] for content in doomed}
        held = {row["sha256"] for row in hub.large_files.listed(repo, 100, 0)}
        branches = hub.repositories.refs(repo, "refs/heads/")
        before = {name: files(hub, repo, name) for name in branches}
        titles = {
            name: [commit.title for commit in hub.repositories.history(repo, branches[name], 99)] for name in branches
        }
        if gone & held:
            hub.large_files.delete(repo, gone & held)
        for name, oid in hub.repositories.refs(repo, "refs/heads/").items():
            assert files(hub, repo, name) == {path: sha for path, sha in before[name].items() if sha not in gone}
            assert [commit.title for commit in hub.repositories.history(repo, oid, 99)] == titles[name]
        for oid in oids(hub, repo):
            assert not gone & set(files(hub, repo, oid).values())
            for entry in dict(hub.trees.files(hub.repositories.resolve(repo, oid).tree)).values():
                assert hub.repositories.find_commit(repo, entry.commit)
        assert check(hub) == []
        hub.close()
