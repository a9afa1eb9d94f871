"""Commits and LFS uploads that are malformed, forged or too large, sent as raw HTTP where a client would not."""

import hashlib
import json
import os
import threading

import pytest


BAD_PATHS = [
    "", "/", "/etc/passwd", "../out", "a/../../out", "a/./b", ".", "..", "a//b", "a/", "C:\\x", "..\\..\\out", "a\0b",
    "a\nb", ".git/config", "a/.GIT/hooks/x", "x" * 256, "a/" * 70 + "b", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_leave_the_folder_are_refused(hub, repo, path: str) -> None:
    assert hub.commit(repo, hub.file(path))[0] == 400
    assert hub.commit(repo, {"key": "lfsFile", "value": {"path": path, "oid": "0" * 64, "size": 1}})[0] == 400
    status, _, _ = hub.request("POST", f"/api/models/{repo}/preupload/main", {"files": [{"path": path, "size": 1}]})
    assert status == 400


@pytest.mark.parametrize("size", [-1, 2**63, 10**18, 1.5, "1", None, True])
def test_sizes(hub, repo, size) -> None:
    body = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": size}]}
    assert hub.request("POST", f"/{repo}.git/info/lfs/objects/batch", body)[0] in (400, 413, 507)
    files = {"files": [{"path": "x", "size": size}]}
    assert hub.request("POST", f"/api/models/{repo}/preupload/main", files)[0] in (400, 413)


@pytest.mark.parametrize("oid", ["", "a" * 63, "A" * 64, "../" * 21 + "a", "g" * 64, None, 1])
def test_hashes(hub, repo, oid) -> None:
    body = {"operation": "upload", "objects": [{"oid": oid, "size": 1}]}
    assert hub.request("POST", f"/{repo}.git/info/lfs/objects/batch", body)[0] == 400
    assert hub.commit(repo, {"key": "lfsFile", "value": {"path": "x", "oid": oid}})[0] == 400


def upload_address(hub, repo: str, data: bytes, size: int | None = None) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    body = {"operation": "upload", "objects": [{"oid": sha256, "size": size or len(data)}]}
    _, _, content = hub.request("POST", f"/{repo}.git/info/lfs/objects/batch", body)
    return json.loads(content)["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)


def test_contents_that_are_not_what_was_announced(hub, repo) -> None:
    data = os.urandom(100_000)
    sha256 = hashlib.sha256(data).hexdigest()
    address = upload_address(hub, repo, data)
    assert hub.request("PUT", address, data[:-1] + b"!")[0] == 400
    assert hub.request("PUT", address, data[:-1])[0] == 400
    assert hub.request("PUT", address, data + b"x")[0] == 413
    forged = address.replace("signature=", "signature=9")
    assert hub.request("PUT", forged, data)[0] == 403
    assert hub.request("PUT", address.replace("/100000?", "/100001?"), data)[0] == 403
    assert hub.commit(repo, {"key": "lfsFile", "value": {"path": "w", "oid": sha256, "size": len(data)}})[0] == 400
    assert hub.request("PUT", address, data)[0] == 200
    assert hub.commit(repo, {"key": "lfsFile", "value": {"path": "w", "oid": sha256, "size": 5}})[0] == 400
    assert hub.commit(repo, {"key": "lfsFile", "value": {"path": "w", "oid": sha256, "size": len(data)}})[0] == 200
    assert hub.request("GET", f"/{repo}/resolve/main/w")[2] == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"key": "header"}',
        b'{"key": "header", "value": {"summary": ""}}',
        b'{"key": "header", "value": {"summary": 7}}',
        b'{"key": "header", "value": {"summary": "s"}}\n{"key": "file", "value": {"path": "a", "content": "%%"}}',
        b'{"key": "header", "value": {"summary": "s"}}\n{"key": "file", "value": {"path": "a", "content": 7}}',
        b'{"key": "header", "value": {"summary": "s"}}\n{"key": "symlink", "value": {"path": "a", "target": "/etc"}}',
        b"[" * 100_000,
    ],
)
def test_malformed_commits(hub, repo, body: bytes) -> None:
    before = json.loads(hub.request("GET", f"/api/models/{repo}")[2])["sha"]
    assert hub.request("POST", f"/api/models/{repo}/commit/main", body)[0] == 400
    assert json.loads(hub.request("GET", f"/api/models/{repo}")[2])["sha"] == before


def test_a_failing_operation_undoes_the_whole_commit(hub) -> None:
    repo = hub.create("atomic")
    missing = {"key": "lfsFile", "value": {"path": "w", "oid": "b" * 64, "size": 1}}
    assert hub.commit(repo, hub.file("a"), hub.file("b"), missing)[0] == 400
    assert hub.commit(repo, hub.file("a"), {"key": "deletedFile", "value": {"path": "none"}})[0] == 404
    assert hub.commit(repo, hub.file("a"), hub.file("a/b"))[0] == 400
    assert hub.request("GET", f"/api/models/{repo}/tree/main")[2] == b"[]"


def test_a_commit_of_a_million_operations_is_refused(hub) -> None:
    repo = hub.create("million")
    line = json.dumps({"key": "deletedFile", "value": {"path": "x"}}).encode() + b"\n"
    body = b'{"key": "header", "value": {"summary": "s"}}\n' + line * 1_000_000
    assert hub.request("POST", f"/api/models/{repo}/commit/main", body)[0] == 413
    assert hub.memory() < 200


def test_stale_parents_lose(hub) -> None:
    repo = hub.create("race")
    head = json.loads(hub.request("GET", f"/api/models/{repo}")[2])["sha"]
    statuses: list[int] = []

    def push(index: int) -> None:
        statuses.append(hub.commit(repo, hub.file(f"{index}"), parentCommit=head)[0])

    threads = [threading.Thread(target=push, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 7
    assert len(json.loads(hub.request("GET", f"/api/models/{repo}/tree/main")[2])) == 1
