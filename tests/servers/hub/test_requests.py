"""Names and addresses that lead elsewhere, ranges, conditions and queries, sent as raw HTTP."""

import hashlib
import json
import socket
from urllib.parse import quote, urlsplit

import pytest


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
    status, _, content = hub.request("GET", path.replace("{repo}", repo))
    assert status in (400, 403, 404, 405)
    assert b"SQLite" not in content and b"root:" not in content


@pytest.mark.parametrize("name", ["a%00b", "%0d%0aX-Evil:1", "%1b[2J", "%7f", "%E2%80%A8"])
def test_control_characters_get_an_answer(hub, repo, name: str) -> None:
    for path in (
        "/api/X",
        "/X",
        "/api/models/X",
        "/api/models/X/x",
        f"/api/models/{repo}/revision/X",
        f"/{repo}/raw/X/x",
    ):
        for method in ("GET", "DELETE"):
            status, headers, _ = hub.request(method, path.replace("X", name))
            assert 400 <= status < 500 and "x-evil" not in headers


def test_head_is_get_without_the_content(hub, repo) -> None:
    for path in (
        "/healthz",
        f"/api/models/{repo}",
        f"/{repo}",
        f"/{repo}/resolve/main/README.md",
        "/api/models/a/none",
    ):
        status, headers, _ = hub.request("GET", path)
        answer, heads, nothing = hub.request("HEAD", path)
        assert (answer, heads["content-length"], nothing) == (status, headers["content-length"], b"")


def test_a_host_that_is_none(hub) -> None:
    assert hub.request("GET", "/api/models?limit=1", headers={"Host": 'a>;rel="x"<b'})[0] == 400


def test_names_that_differ_by_case_stay_apart(hub) -> None:
    repo = hub.create("case")
    assert hub.commit(repo, hub.file("Readme", b"upper"), hub.file("readme", b"lower"))[0] == 200
    assert hub.request("GET", f"/{repo}/resolve/main/Readme")[2] == b"upper"
    assert hub.request("GET", f"/{repo}/resolve/main/readme")[2] == b"lower"
    # A repository's name is another matter: two that differ by case would be one folder on some disks.
    assert hub.request("POST", "/api/repos/create", {"name": "CASE", "organization": "SEC"})[0] == 409
    assert hub.request("GET", "/api/models/SEC/Case")[0] == 200


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a b", "a/b", "-a", "a--b", "a..b", "x" * 97, "a.git", "ä", None, 7, "a\n"]
)
def test_repository_names(hub, name) -> None:
    assert hub.request("POST", "/api/repos/create", {"name": name, "organization": "sec"})[0] == 400


@pytest.mark.parametrize("namespace", ["api", "datasets", "_cas", "a/b", "..", "Models"])
def test_namespaces_that_would_hide_a_route(hub, namespace: str) -> None:
    assert hub.request("POST", "/api/repos/create", {"name": "x", "organization": namespace})[0] == 400


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
    repo = hub.create("range")
    hub.commit(repo, hub.file("digits", b"0123456789"))
    answer, headers, body = hub.request("GET", f"/{repo}/resolve/main/digits", headers={"Range": asked})
    assert answer == status
    if content is not None:
        assert body == content
    else:
        assert headers["content-range"] == "bytes */10"


def test_conditions(hub, repo) -> None:
    path = f"/{repo}/resolve/main/README.md"
    _, headers, _ = hub.request("HEAD", path)
    etag = headers["etag"]
    assert headers["content-length"] == "7" and len(headers["x-repo-commit"]) == 40
    assert hub.request("GET", path, headers={"If-None-Match": etag})[0] == 304
    assert hub.request("GET", path, headers={"If-None-Match": '"else"'})[0] == 200
    assert hub.request("GET", path, headers={"Range": "bytes=0-1", "If-Range": etag})[0] == 206
    assert hub.request("GET", path, headers={"Range": "bytes=0-1", "If-Range": '"else"'})[0] == 200


def test_errors_tell_clients_what_is_missing(hub, repo) -> None:
    def code(path: str) -> tuple[int, str | None]:
        status, headers, _ = hub.request("GET", path)
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
        assert hub.request("GET", f"/api/models?{query}")[0] in (200, 400)
    assert hub.request("GET", f"/api/models/{repo}/commits/main?cursor=none")[0] == 404
    assert hub.request("POST", f"/api/models/{repo}/paths-info/main", b"paths=%ff")[0] == 400
    assert hub.request("POST", "/api/repos/create", b"x" * (40 * 1024**2))[0] == 413
    assert hub.request("POST", "/api/repos/create", b"[1]")[0] == 400
    assert hub.request("POST", "/api/repos/create", b"\xff")[0] == 400


def test_raw_is_what_git_keeps(hub) -> None:
    repo = hub.create("raw")
    weights = b"w" * 1000
    sha256 = hashlib.sha256(weights).hexdigest()
    batch = {"operation": "upload", "objects": [{"oid": sha256, "size": 1000}]}
    answer = json.loads(hub.request("POST", f"/{repo}.git/info/lfs/objects/batch", batch)[2])
    href = answer["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)
    assert hub.request("PUT", href, weights)[0] == 200
    large = {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": sha256, "size": 1000}}
    assert hub.commit(repo, large, hub.file("a.txt", b"text"))[0] == 200
    status, headers, pointer = hub.request("GET", f"/{repo}/raw/main/w.bin")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    assert pointer.decode() == f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 1000\n"
    tree = json.loads(hub.request("GET", f"/api/models/{repo}/tree/main")[2])
    entry = next(entry for entry in tree if entry["path"] == "w.bin")
    assert headers["etag"] == f'"{entry["oid"]}"' and len(pointer) == entry["lfs"]["pointerSize"]
    assert hub.request("GET", f"/{repo}/resolve/main/w.bin")[2] == weights
    assert hub.request("GET", f"/{repo}/raw/main/a.txt")[2] == b"text"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 200_000, 400),
        (b'{"name": "\\ud800", "organization": "sec"}', 400),
        (b'{"name": "\xed\xa0\x80", "organization": "sec"}', 400),
        (b'{"name": "a\\u0000b", "organization": "sec"}', 400),
        (b'{"name": ' + b"9" * 5000 + b"}", 400),
        (b'{"name": "x", "organization": {"a": 1}}', 400),
        (b'{"a": [' + b"{}," * 700_000 + b"{}]}", 413),
    ],
)
def test_bodies_that_cannot_be_read(hub, body: bytes, status: int) -> None:
    assert hub.request("POST", "/api/repos/create", body)[0] == status


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b'{"key": "file", "value": {"path": "a", "content": "' + b"QUFB" * 4_000_000 + b'"}}', 413),
        (b'{"key": "file", "value": {"path": "a", "content": [' + b"{}," * 500_000 + b"1]}}", 413),
        (b'{"key": "file", "value": {"path": "a", "content": ' + b"[" * 100_000, 400),
        (b'{"key": "file", "value": {"path": "a", "encoding": "utf-8", "content": "\\ud800"}}', 400),
        (b'{"key": "file", "value": {"path": "a\\u0000\\u001b[2J", "content": ""}}', 400),
        (b'{"key": "file", "value": {"path": "a", "content": "\xc3"}}', 400),
        (b'{"key": "header", "value": {"summary": "x", "parentCommit": {"a": 1}}}', 400),
        (b'{"key": "header", "value": {"summary": "x", "parentCommit": "\\udfff"}}', 400),
    ],
)
def test_lines_of_a_commit_that_cannot_be_read(hub, line: bytes, status: int) -> None:
    repo = hub.create("lines")
    for query in ("", "?create_pr=1"):
        body = b'{"key": "header", "value": {"summary": "x"}}\n' + line
        answer, headers, _ = hub.request("POST", f"/api/models/{repo}/commit/main{query}", body)
        assert answer == status and headers["x-error-message"].isprintable()
    assert hub.memory() < 200


def test_a_long_file_goes_into_a_commit_as_it_is(hub) -> None:
    data = bytes(range(256)) * 39_000
    repo = hub.create("long")
    assert hub.commit(repo, hub.file("a.txt", data))[0] == 200
    assert hub.request("GET", f"/{repo}/resolve/main/a.txt")[2] == data


def test_many_small_files_in_one_commit_are_not_held_in_memory(hub) -> None:
    repo = hub.create("held")
    files = [hub.file(f"{number}.txt", number.to_bytes(4, "big") * 15_000) for number in range(1200)]
    before = hub.memory()
    assert hub.commit(repo, *files)[0] == 200
    assert hub.memory() - before < 60
    assert hub.request("GET", f"/{repo}/resolve/main/7.txt")[2] == (7).to_bytes(4, "big") * 15_000


def test_who_may_not_write_sends_no_body(start_hub, run_command, tmp_path) -> None:
    made = run_command("token", "create", "ada", "--data", tmp_path / "hub")
    assert made.returncode == 0
    hub = start_hub()
    address = urlsplit(hub.url)
    for path in ("/api/models/ada/x/commit/main", "/api/repos/create", "/api/validate-yaml"):
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 3000000\r\n\r\nabc"
            connection.sendall(head.encode())
            assert connection.recv(100)[9:12] in (b"401", b"413")


def test_a_gitignore_that_takes_too_long_to_compare(hub) -> None:
    repo = hub.create("ignoring")
    files = [{"path": "/".join("abcdefghij"), "size": 1, "sample": ""}] * 2000
    body = {"files": files, "gitIgnore": "\n".join(f"*a*b*{number}" for number in range(1000))}
    status, _, content = hub.request("POST", f"/api/models/{repo}/preupload/main", body)
    assert status == 413 and b".gitignore" in content
    body = {"files": [*files[:1], {"path": "b", "size": 1, "sample": ""}], "gitIgnore": "a/\n"}
    answer = json.loads(hub.request("POST", f"/api/models/{repo}/preupload/main", body)[2])
    assert [file["shouldIgnore"] for file in answer["files"]] == [True, False]


def test_many_paths_asked_for_at_once(hub, repo) -> None:
    body = {"paths": ["a/b/c/d"] * 100_000 + ["README.md"]}
    headers = {"Content-Type": "application/json"}
    status, _, content = hub.request("POST", f"/api/models/{repo}/paths-info/main", body, headers)
    assert status == 200 and len(json.loads(content)) == 1
