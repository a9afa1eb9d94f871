"""Bad input and bad intentions, sent as raw HTTP where a client would not send it."""

import base64
import hashlib
import http.client
import json
import os
import struct
import threading
from urllib.parse import quote, urlsplit

import pytest


def request(hub, method: str, path: str, body=None, headers: dict | None = None) -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=60)
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, content


def create(hub, name: str, **more) -> str:
    status, _, content = request(hub, "POST", "/api/repos/create", {"name": name, "organization": "sec", **more})
    assert status in (200, 409), content
    return f"sec/{name}"


def commit(hub, repo: str, *operations: dict, summary: str = "commit", **header) -> tuple[int, dict, bytes]:
    lines = [{"key": "header", "value": {"summary": summary, **header}}, *operations]
    body = "\n".join(map(json.dumps, lines)).encode()
    return request(hub, "POST", f"/api/models/{repo}/commit/main", body)


def file(path: str, data: bytes = b"x") -> dict:
    return {"key": "file", "value": {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}}


@pytest.fixture(scope="module")
def repo(hub) -> str:
    name = create(hub, "repo")
    assert commit(hub, name, file("README.md", b"# hello"))[0] == 200
    return name


BAD_PATHS = [
    "", "/", "/etc/passwd", "../out", "a/../../out", "a/./b", ".", "..", "a//b", "a/", "C:\\x", "..\\..\\out", "a\0b",
    "a\nb", ".git/config", "a/.GIT/hooks/x", "x" * 256, "a/" * 70 + "b", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_leave_the_folder_are_refused(hub, repo, path: str) -> None:
    assert commit(hub, repo, file(path))[0] == 400
    assert commit(hub, repo, {"key": "lfsFile", "value": {"path": path, "oid": "0" * 64, "size": 1}})[0] == 400
    status, _, _ = request(hub, "POST", f"/api/models/{repo}/preupload/main", {"files": [{"path": path, "size": 1}]})
    assert status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/{repo}/resolve/main/..%2F..%2Fhub.sqlite",
        "/{repo}/resolve/main/%2e%2e/%2e%2e/hub.sqlite",
        "/{repo}/resolve/..%2F..%2Fmain/README.md",
        "/{repo}/resolve/main/%00",
        "/{repo}/resolve/main/%ff%fe",
        "/{repo}/resolve/%ff/README.md",
        "/api/models/{repo}/tree/main/..%2F..",
        "/api/models/{repo}/revision/..%2F..%2Fx",
        "/api/models/..%2F../x",
        "/_lfs/../../hub.sqlite/1",
        "/_cas/..%2F..%2Fhub/v1/xorbs/default/x",
        "/../../etc/passwd",
        "//etc/passwd",
    ],
)
def test_addresses_lead_nowhere_else(hub, repo, path: str) -> None:
    status, _, content = request(hub, "GET", path.replace("{repo}", repo))
    assert status in (400, 403, 404, 405)
    assert b"SQLite" not in content and b"root:" not in content


def test_names_that_differ_by_case_stay_apart(hub) -> None:
    repo = create(hub, "case")
    assert commit(hub, repo, file("Readme", b"upper"), file("readme", b"lower"))[0] == 200
    assert request(hub, "GET", f"/{repo}/resolve/main/Readme")[2] == b"upper"
    assert request(hub, "GET", f"/{repo}/resolve/main/readme")[2] == b"lower"
    # A repository's name is another matter: two that differ by case would be one folder on some disks.
    assert request(hub, "POST", "/api/repos/create", {"name": "CASE", "organization": "SEC"})[0] == 409
    assert request(hub, "GET", "/api/models/SEC/Case")[0] == 200


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a b", "a/b", "-a", "a--b", "a..b", "x" * 97, "a.git", "ä", None, 7, "a\n"]
)
def test_repository_names(hub, name) -> None:
    assert request(hub, "POST", "/api/repos/create", {"name": name, "organization": "sec"})[0] == 400


@pytest.mark.parametrize("namespace", ["api", "datasets", "_cas", "a/b", "..", "Models"])
def test_namespaces_that_would_hide_a_route(hub, namespace: str) -> None:
    assert request(hub, "POST", "/api/repos/create", {"name": "x", "organization": namespace})[0] == 400


@pytest.mark.parametrize("size", [-1, 2**63, 10**18, 1.5, "1", None, True])
def test_sizes(hub, repo, size) -> None:
    body = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": size}]}
    assert request(hub, "POST", f"/{repo}.git/info/lfs/objects/batch", body)[0] in (400, 413, 507)
    files = {"files": [{"path": "x", "size": size}]}
    assert request(hub, "POST", f"/api/models/{repo}/preupload/main", files)[0] in (400, 413)


@pytest.mark.parametrize("oid", ["", "a" * 63, "A" * 64, "../" * 21 + "a", "g" * 64, None, 1])
def test_hashes(hub, repo, oid) -> None:
    body = {"operation": "upload", "objects": [{"oid": oid, "size": 1}]}
    assert request(hub, "POST", f"/{repo}.git/info/lfs/objects/batch", body)[0] == 400
    assert commit(hub, repo, {"key": "lfsFile", "value": {"path": "x", "oid": oid}})[0] == 400


def upload_address(hub, repo: str, data: bytes, size: int | None = None) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    body = {"operation": "upload", "objects": [{"oid": sha256, "size": size or len(data)}]}
    _, _, content = request(hub, "POST", f"/{repo}.git/info/lfs/objects/batch", body)
    return json.loads(content)["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)


def test_contents_that_are_not_what_was_announced(hub, repo) -> None:
    data = os.urandom(100_000)
    sha256 = hashlib.sha256(data).hexdigest()
    address = upload_address(hub, repo, data)
    assert request(hub, "PUT", address, data[:-1] + b"!")[0] == 400
    assert request(hub, "PUT", address, data[:-1])[0] == 400
    assert request(hub, "PUT", address, data + b"x")[0] == 413
    forged = address.replace("signature=", "signature=9")
    assert request(hub, "PUT", forged, data)[0] == 403
    assert request(hub, "PUT", address.replace("/100000?", "/100001?"), data)[0] == 403
    assert commit(hub, repo, {"key": "lfsFile", "value": {"path": "w", "oid": sha256, "size": len(data)}})[0] == 400
    assert request(hub, "PUT", address, data)[0] == 200
    assert commit(hub, repo, {"key": "lfsFile", "value": {"path": "w", "oid": sha256, "size": 5}})[0] == 400
    assert commit(hub, repo, {"key": "lfsFile", "value": {"path": "w", "oid": sha256, "size": len(data)}})[0] == 200
    assert request(hub, "GET", f"/{repo}/resolve/main/w")[2] == data


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
    before = json.loads(request(hub, "GET", f"/api/models/{repo}")[2])["sha"]
    assert request(hub, "POST", f"/api/models/{repo}/commit/main", body)[0] == 400
    assert json.loads(request(hub, "GET", f"/api/models/{repo}")[2])["sha"] == before


def test_a_failing_operation_undoes_the_whole_commit(hub) -> None:
    repo = create(hub, "atomic")
    missing = {"key": "lfsFile", "value": {"path": "w", "oid": "b" * 64, "size": 1}}
    assert commit(hub, repo, file("a"), file("b"), missing)[0] == 400
    assert commit(hub, repo, file("a"), {"key": "deletedFile", "value": {"path": "none"}})[0] == 404
    assert commit(hub, repo, file("a"), file("a/b"))[0] == 400
    assert request(hub, "GET", f"/api/models/{repo}/tree/main")[2] == b"[]"


def test_a_commit_of_a_million_operations_is_refused(hub) -> None:
    repo = create(hub, "million")
    line = json.dumps({"key": "deletedFile", "value": {"path": "x"}}).encode() + b"\n"
    body = b'{"key": "header", "value": {"summary": "s"}}\n' + line * 1_000_000
    assert request(hub, "POST", f"/api/models/{repo}/commit/main", body)[0] == 413
    assert hub.memory() < 200


def test_stale_parents_lose(hub) -> None:
    repo = create(hub, "race")
    head = json.loads(request(hub, "GET", f"/api/models/{repo}")[2])["sha"]
    statuses: list[int] = []

    def push(index: int) -> None:
        statuses.append(commit(hub, repo, file(f"{index}"), parentCommit=head)[0])

    threads = [threading.Thread(target=push, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 7
    assert len(json.loads(request(hub, "GET", f"/api/models/{repo}/tree/main")[2])) == 1


# Xet


def xet_store(hub, repo: str) -> tuple[str, dict]:
    answer = json.loads(request(hub, "GET", f"/api/models/{repo}/xet-write-token/main")[2])
    return answer["casUrl"].removeprefix(hub.url), {"Authorization": f"Bearer {answer['accessToken']}"}


def chunk(data: bytes, scheme: int = 0, size: int | None = None) -> bytes:
    announced = len(data) if size is None else size
    header = bytes([0]) + len(data).to_bytes(3, "little") + bytes([scheme]) + announced.to_bytes(3, "little")
    return header + data


def words(text: str) -> bytes:
    return struct.pack("<4Q", *(int(text[i : i + 16], 16) for i in range(0, 64, 16)))


def shard(xorb: str, sha256: str, size: int, start: int = 0, end: int = 1, count: int = 1) -> bytes:
    header = b"HFRepoMetaData\0".ljust(32, b"\x55") + struct.pack("<QQ", 2, 0)
    entry = words(xorb) + struct.pack("<4I", 0, size, start, end)
    start_of_file = words("1" * 64) + struct.pack("<IIQ", 1 << 30, count, 0)
    return header + start_of_file + entry * count + words(sha256) + bytes(16) + b"\xff" * 32 + bytes(16)


def test_xet_takes_what_is_right(hub, repo) -> None:
    store, token = xet_store(hub, repo)
    data = os.urandom(5000)
    assert request(hub, "POST", f"{store}/v1/xorbs/default/{'1' * 64}", chunk(data), token)[0] == 200
    body = shard("1" * 64, hashlib.sha256(data).hexdigest(), len(data))
    assert request(hub, "POST", f"{store}/v1/shards", body, token)[0] == 200
    oid = hashlib.sha256(data).hexdigest()
    assert commit(hub, repo, {"key": "lfsFile", "value": {"path": "xet", "oid": oid, "size": 5000}})[0] == 200
    assert request(hub, "GET", f"/{repo}/resolve/main/xet")[2] == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage of some length, longer than a header",
        chunk(b"x" * 100)[:-1],
        chunk(b"x", size=2**24 - 1),
        chunk(b"x" * 100, scheme=9),
        b"\xff" * 1000,
    ],
)
def test_malformed_xorbs(hub, repo, body: bytes) -> None:
    store, token = xet_store(hub, repo)
    assert request(hub, "POST", f"{store}/v1/xorbs/default/{'2' * 64}", body, token)[0] == 400


@pytest.mark.parametrize("name", ["..%2F..%2Fhub.sqlite", "g" * 64, "a" * 63, "%00", "A" * 64])
def test_xorb_hashes(hub, repo, name: str) -> None:
    store, token = xet_store(hub, repo)
    assert request(hub, "POST", f"{store}/v1/xorbs/default/{name}", chunk(b"x"), token)[0] in (400, 404)


def test_stores_and_tokens_of_others(hub, repo) -> None:
    store, token = xet_store(hub, repo)
    path = f"/v1/xorbs/default/{'3' * 64}"
    assert request(hub, "POST", f"{store}{path}", chunk(b"x"))[0] == 401
    assert request(hub, "POST", f"{store}{path}", chunk(b"x"), {"Authorization": "Bearer x.y.z"})[0] == 403
    assert request(hub, "POST", f"/_cas/{'0' * 16}{path}", chunk(b"x"), token)[0] == 403


def test_decompression_bombs(hub, repo) -> None:
    import pyarrow as pa

    store, token = xet_store(hub, repo)
    bomb = pa.Codec("lz4").compress(bytes(200_000_000), asbytes=True)
    for body in (chunk(bomb[:100_000], scheme=1, size=200_000), chunk(bomb, scheme=1, size=2**24 - 1)):
        assert request(hub, "POST", f"{store}/v1/xorbs/default/{'4' * 64}", body, token)[0] == 400
    # Chunks that are small each, and too much together.
    some = chunk(pa.Codec("lz4").compress(bytes(200_000), asbytes=True), scheme=1, size=200_000)
    assert request(hub, "POST", f"{store}/v1/xorbs/default/{'4' * 64}", some * 500, token)[0] == 400
    assert request(hub, "POST", f"{store}/v1/xorbs/default/{'4' * 64}", some * 100, token)[0] == 200
    # One chunk, named so often that the file would fill any disk.
    data = os.urandom(100_000)
    assert request(hub, "POST", f"{store}/v1/xorbs/default/{'6' * 64}", chunk(data), token)[0] == 200
    body = shard("6" * 64, "5" * 64, 100_000, count=1_000_000)
    assert request(hub, "POST", f"{store}/v1/shards", body, token)[0] in (413, 507)
    body = shard("6" * 64, "5" * 64, 1, count=1_000_000)
    assert request(hub, "POST", f"{store}/v1/shards", body, token)[0] == 400


@pytest.mark.parametrize(
    "change",
    [
        {"xorb": "7" * 64},
        {"start": 1, "end": 2},
        {"start": 1, "end": 1},
        {"start": 5, "end": 2},
        {"end": 2**32 - 1},
        {"size": 999},
        {"sha256": "8" * 64},
    ],
)
def test_shards_that_name_what_is_not_there(hub, repo, change: dict) -> None:
    store, token = xet_store(hub, repo)
    data = bytes(range(200)) * 5
    assert request(hub, "POST", f"{store}/v1/xorbs/default/{'9' * 64}", chunk(data), token)[0] == 200
    values = {"xorb": "9" * 64, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert request(hub, "POST", f"{store}/v1/shards", shard(**{**values, **change}), token)[0] == 400


def test_malformed_shards(hub, repo) -> None:
    store, token = xet_store(hub, repo)
    whole = shard("9" * 64, "8" * 64, 1000)
    for length in (0, 10, 47, 48, 60, 100, len(whole) - 60):
        assert request(hub, "POST", f"{store}/v1/shards", whole[:length], token)[0] == 400
    many = bytearray(whole)
    many[48 + 36 : 48 + 40] = b"\xff\xff\xff\xff"
    assert request(hub, "POST", f"{store}/v1/shards", bytes(many), token)[0] == 400


# Pages


CARD = """---
license: mit
---
# Title <script>alert(1)</script>
<img src=x onerror=alert(1)> <a href="javascript:alert(1)">a</a> <svg onload=alert(1)>
<iframe src="//evil"></iframe> <style>body{display:none}</style> <form action="//evil"><input></form>

[b](javascript:alert(1)) [c](data:text/html,x) ![plot](plots/a.png) [file](data.csv) <p style="position:fixed">p</p>
<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>
"""


def test_cards_run_nothing(hub) -> None:
    repo = create(hub, "card")
    assert commit(hub, repo, file("README.md", CARD.encode()), file("<script>.txt"))[0] == 200
    status, headers, content = request(hub, "GET", f"/{repo}", headers={"Accept": "text/html"})
    page = content.decode()
    body = page.partition("<article>")[2]
    assert status == 200 and "<h1>Title" in body
    for bad in (
        "<script",
        "onerror",
        'href="javascript:',
        'href="data:',
        "<iframe",
        "<style",
        "<form",
        "<svg",
        "position:fixed",
    ):
        assert bad not in body
    assert f'src="/{repo}/resolve/main/plots/a.png"' in body and f'href="/{repo}/blob/main/data.csv"' in body
    assert "default-src 'none'" in headers["content-security-policy"]
    tree = request(hub, "GET", f"/{repo}/tree/main")[2].decode()
    assert "&lt;script&gt;.txt" in tree and "<script>" not in tree


def test_files_run_nothing(hub) -> None:
    repo = create(hub, "html")
    assert commit(hub, repo, file("a.html", b"<script>alert(1)</script>"), file("a.svg", b"<svg/>"))[0] == 200
    _, headers, _ = request(hub, "GET", f"/{repo}/resolve/main/a.html")
    assert headers["content-type"].startswith("text/plain") and headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in request(hub, "GET", f"/{repo}/resolve/main/a.svg")[1]["content-security-policy"]


@pytest.mark.parametrize(
    "card",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]",
        "a: &a [*a]",
        "a: !!python/object/apply:os.system ['true']",
        "- a\n- b",
        "a: [",
        "[" * 5000,
    ],
)
def test_hostile_metadata(hub, card: str) -> None:
    text = f"---\n{card}\n---\n# t"
    status, _, content = request(hub, "POST", "/api/validate-yaml", {"content": text, "repoType": "model"})
    assert status == 400 and json.loads(content)["errors"]
    repo = create(hub, "yaml")
    assert commit(hub, repo, file("README.md", text.encode()))[0] == 200
    assert request(hub, "GET", f"/api/models/{repo}")[0] == 200
    assert request(hub, "GET", f"/{repo}")[0] == 200


def test_pages_of_others_cannot_speak_to_the_hub(hub) -> None:
    body = {"name": "csrf", "organization": "sec"}
    assert request(hub, "POST", "/api/repos/create", body, {"Origin": "http://evil.example"})[0] == 403
    assert request(hub, "POST", "/api/repos/create", body, {"Origin": hub.url})[0] == 200
    assert request(hub, "GET", "/api/models", headers={"Host": "evil.example"})[0] == 403


# Requests


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=6-", 206, b"6789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=5-500", 206, b"56789"),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=4-2", 200, b"0123456789"),
        ("bytes=0-1,3-4", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
        ("bytes=a-b", 200, b"0123456789"),
        ("bytes=999999999999999999999999-", 200, b"0123456789"),
    ],
)
def test_ranges(hub, asked: str, status: int, content: bytes | None) -> None:
    repo = create(hub, "range")
    commit(hub, repo, file("digits", b"0123456789"))
    answer, headers, body = request(hub, "GET", f"/{repo}/resolve/main/digits", headers={"Range": asked})
    assert answer == status
    if content is not None:
        assert body == content
    else:
        assert headers["content-range"] == "bytes */10"


def test_conditions(hub, repo) -> None:
    path = f"/{repo}/resolve/main/README.md"
    _, headers, _ = request(hub, "HEAD", path)
    etag = headers["etag"]
    assert headers["content-length"] == "7" and len(headers["x-repo-commit"]) == 40
    assert request(hub, "GET", path, headers={"If-None-Match": etag})[0] == 304
    assert request(hub, "GET", path, headers={"If-None-Match": '"else"'})[0] == 200
    assert request(hub, "GET", path, headers={"Range": "bytes=0-1", "If-Range": etag})[0] == 206
    assert request(hub, "GET", path, headers={"Range": "bytes=0-1", "If-Range": '"else"'})[0] == 200


def test_errors_tell_clients_what_is_missing(hub, repo) -> None:
    def code(path: str) -> tuple[int, str | None]:
        status, headers, _ = request(hub, "GET", path)
        return status, headers.get("x-error-code")

    assert code("/api/models/sec/none") == (404, "RepoNotFound")
    assert code("/gpt2/resolve/main/config.json") == (404, "RepoNotFound")
    assert code(f"/api/models/{repo}/revision/none") == (404, "RevisionNotFound")
    assert code(f"/{repo}/resolve/main/none") == (404, "EntryNotFound")
    assert code(f"/{repo}/resolve/none/README.md") == (404, "RevisionNotFound")
    assert code(f"/api/models/{repo}/tree/main/none") == (404, "EntryNotFound")
    assert code("/api/none") == (404, None)


def test_queries_that_make_no_sense(hub, repo) -> None:
    for query in ("limit=-1", "limit=x", "cursor=%ff", "cursor=x", "cursor=W10=", f"filter={quote('a' * 5000)}"):
        assert request(hub, "GET", f"/api/models?{query}")[0] in (200, 400)
    assert request(hub, "GET", f"/api/models/{repo}/commits/main?cursor=none")[0] == 404
    assert request(hub, "POST", f"/api/models/{repo}/paths-info/main", b"paths=%ff")[0] == 400
    assert request(hub, "POST", "/api/repos/create", b"x" * (40 * 1024**2))[0] == 413
    assert request(hub, "POST", "/api/repos/create", b"[1]")[0] == 400
    assert request(hub, "POST", "/api/repos/create", b"\xff")[0] == 400
