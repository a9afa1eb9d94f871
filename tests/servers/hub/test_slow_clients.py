"""Clients that send or read too slowly or not at all are sent away, hold up nobody and keep no Hub from ending."""

import contextlib
import hashlib
import json
import re
import signal
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from hfdistill.servers.hub import upload_routes
from hfdistill.servers.hub.pace import FLOOR, PATIENCE, Pace
from hfdistill.servers.hub.service import Hub


LARGE = 8_000_000
QUICK = {"protocol.HEAD_SECONDS": 2, "pace.PATIENCE": 3}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, served: Callable):
    """A Hub of short patience with the model `sec/files`, in which `large.bin` weighs `LARGE` bytes."""
    data = tmp_path_factory.mktemp("hasty") / "data"
    state = Hub(data)
    content = bytes(LARGE)
    state.blobs.put(content, "local")
    state.close()
    hub = served(data, limits=QUICK)
    repo = hub.create("files")
    assert hub.commit(repo, large_file("large.bin", content))[0] == 200
    return hub


def connect(hub, head: str = "", receive_buffer: int | None = None) -> socket.socket:
    address = urlsplit(hub.url)
    connection = socket.socket()
    connection.settimeout(60)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        # Else the kernel sends 64 kB at once, or nothing, and ends the connection itself.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 100)
    connection.connect((address.hostname, address.port))
    connection.sendall(head.replace("\n", f"\nHost: {address.netloc}\n", 1).replace("\n", "\r\n").encode())
    return connection


def upload(hub, repo: str, sha256: str, headers: dict | None = None) -> str:
    """The address for a large file of `LARGE` bytes."""
    batch = {"operation": "upload", "objects": [{"oid": sha256, "size": LARGE}]}
    answer = json.loads(hub.request("POST", f"/{repo}.git/info/lfs/objects/batch", batch, headers)[2])
    return answer["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)


def stalled_upload(hub, repo: str, sha256: str, headers: dict | None = None) -> socket.socket:
    address = upload(hub, repo, sha256, headers)
    return connect(hub, f"PUT {address} HTTP/1.1\nContent-Length: {LARGE}\n\nx")


def commit_body(*operations: dict) -> bytes:
    return "\n".join(map(json.dumps, [{"key": "header", "value": {"summary": "x"}}, *operations])).encode()


def large_file(path: str, content: bytes) -> dict:
    value = {"path": path, "algo": "sha256", "oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return {"key": "lfsFile", "value": value}


def drip(connection: socket.socket, piece: bytes = b"x") -> bytes:
    """Sends a little every now and then until the Hub answers or closes; returns what it answers until it closes."""
    connection.settimeout(0.3)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            connection.sendall(piece)
            answer = connection.recv(10_000)
            break
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    else:
        raise AssertionError("the Hub still waits")
    connection.settimeout(60)
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(10_000):
            answer += more
    return answer


def answered(connection: socket.socket) -> bytes:
    """A whole answer: its head and its body may come apart."""
    with connection.makefile("rb", buffering=0) as lines:
        head = b"".join(iter(lines.readline, b"\r\n"))
        (length,) = re.findall(rb"(?i)^content-length: (\d+)", head, re.M)
        left = int(length)
        while left:
            left -= len(lines.read(left))
    return head


def test_heads_that_never_end(hasty) -> None:
    half = "GET /api/models HTTP/1.1\nX-A: "
    waiting = [connect(hasty, half) for _ in range(800)] + [connect(hasty)]
    assert hasty.request("GET", "/api/whoami-v2")[0] == 200
    for head, piece in (("", b"\r\n"), ("GET /", b"a")):
        with connect(hasty, head) as connection:
            assert drip(connection, piece) == b""
    for connection in waiting:
        with connection:
            assert connection.recv(100) == b""


def test_a_head_that_is_too_large(hasty) -> None:
    for size, status in ((60_000, b"200"), (70_000, b"431")):
        with connect(hasty, f"GET /healthz HTTP/1.1\nX-A: {'a' * size}\n\n") as connection:
            assert connection.recv(10_000)[9:12] == status


def test_a_second_request_has_its_own_time(hasty) -> None:
    with connect(hasty, "GET /healthz HTTP/1.1\n\n") as connection:
        assert b"200 OK" in answered(connection)
        time.sleep(3)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in answered(connection)
        assert drip(connection, b"\r\n") == b""


def test_a_body_that_trickles_in(hasty) -> None:
    commit = "POST /api/models/sec/files/commit/main HTTP/1.1\nContent-Length: 1000000\n\n"
    for connection in (connect(hasty, commit), stalled_upload(hasty, "sec/files", "a" * 64)):
        with connection:
            answer = drip(connection)
            assert answer[9:12] == b"408" and b"too slowly" in answer


def test_the_rest_of_a_body_that_is_refused(hasty) -> None:
    with connect(hasty, "POST /api/models/sec/none/commit/main HTTP/1.1\nContent-Length: 1000000\n\n") as connection:
        assert answered(connection)[9:12] == b"404"
        assert drip(connection) == b""


@pytest.mark.parametrize("count", [0, 400], ids=["not at all", "a little at a time"])
def test_a_download_that_is_hardly_read(hasty, count: int) -> None:
    before = downloads(hasty)
    with connect(hasty, "GET /sec/files/resolve/main/large.bin HTTP/1.1\n\n", receive_buffer=2000) as connection:
        until = time.monotonic() + 60
        while downloads(hasty) == before:
            assert time.monotonic() < until, "the Hub still waits"
            connection.recv(count)
            time.sleep(0.1)


def test_a_download_that_is_read_slowly(hasty) -> None:
    before = downloads(hasty)
    with connect(hasty, "GET /sec/files/resolve/main/large.bin HTTP/1.1\n\n", receive_buffer=2000) as connection:
        until = time.monotonic() + 3 * QUICK["pace.PATIENCE"]
        while time.monotonic() < until:
            assert connection.recv(20_000)
            time.sleep(0.02)
        assert downloads(hasty) == before


def downloads(hub) -> int:
    """How many have ended."""
    return sum("resolve" in line["path"] for line in hub.requests())


def test_what_counts_as_too_slow() -> None:
    pace = Pace()
    for _ in range(100):
        pace.note(FLOOR, PATIENCE - 1)
    assert pace.left == PATIENCE
    for _ in range(PATIENCE):
        pace.note(1, 1)
    assert pace.left == 0


def test_stalled_uploads_of_one_user_stop_neither_others_nor_the_end(start_hub, tmp_path) -> None:
    state = Hub(tmp_path / "hub")
    tokens = {name: state.accounts.create_token(name, "default", "write") for name in ("ada", "bob")}
    state.close()
    hub = start_hub(limits={"app.GRACE": 1, "app.LAST": 6})
    ada, bob = ({"Authorization": f"Bearer {token}"} for token in tokens.values())
    for headers, user in ((ada, "ada"), (bob, "bob")):
        assert hub.request("POST", "/api/repos/create", {"name": "m", "organization": user}, headers)[0] == 200
    stalled = [stalled_upload(hub, "bob/m", f"{number:064}", bob) for number in range(33)]
    content = bytes(LARGE)
    address = upload(hub, "ada/m", hashlib.sha256(content).hexdigest(), ada)
    assert hub.request("PUT", address, content)[0] == 200
    body = commit_body(large_file("a.bin", content), hub.file("README.md", b"<div>" * 200_000))
    assert hub.request("POST", "/api/models/ada/m/commit/main", body, ada)[0] == 200
    [line] = [line for line in hub.requests() if line["method"] == "PUT"]
    assert line["status"] == 200
    token = f"Authorization: Bearer {tokens['ada']}"
    stalled += [
        connect(hub, "GET /ada/m/resolve/main/a.bin HTTP/1.1\n\n", receive_buffer=4096),
        connect(hub, f"POST /api/models/ada/m/commit/main HTTP/1.1\n{token}\nContent-Length: 9999\n\n{{"),
        connect(hub, "GET /ada/m HTTP/1.1\nAccept: text/html\n\n"),
    ]
    hub.process.send_signal(signal.SIGTERM)
    assert hub.process.wait(60) == 0
    for connection in stalled:
        connection.close()
    assert "no problem found" in hub.fsck()
    assert not [line for line in hub.log.read_text().splitlines() if not line.startswith("{")]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_hub_ends_in_the_time_that_the_manual_states(start_hub, number: int) -> None:
    hub = start_hub()
    hub.create("m")
    with stalled_upload(hub, "sec/m", "a" * 64):
        started = time.monotonic()
        hub.process.send_signal(number)
        assert hub.process.wait(60) == 0
        assert 14 < time.monotonic() - started < 20


def test_what_may_wait_for_readers_has_threads_of_its_own() -> None:
    [preupload] = [route for route in upload_routes.routes.all if route.path.endswith("/preupload/{rev}")]
    assert preupload.patient
