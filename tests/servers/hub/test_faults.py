"""kill -9 at any moment, a full disk, clients that vanish: nothing half visible, nothing acknowledged lost."""

import base64
import hashlib
import http.client
import json
import os
import random
import resource
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hfdistill.servers.hub.maintenance import check
from hfdistill.servers.hub.service import Hub

from .xet_uploads import shard, xorb_of


def call(url: str, method: str, path: str, body: bytes = b"", headers: dict | None = None) -> bytes:
    """One request; anything but success raises."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise OSError(f"{method} {path}: {answer.status} {content[:200]!r}")
    return content


def commit(url: str, repo: str, *operations: dict) -> str:
    lines = [{"key": "header", "value": {"summary": "push"}}, *operations]
    body = "\n".join(map(json.dumps, lines)).encode()
    return json.loads(call(url, "POST", f"/api/models/{repo}/commit/main", body))["commitOid"]


@dataclass
class Pusher:
    """Pushes small files, LFS files and Xet files until told to stop, and notes what was acknowledged."""

    url: str
    repo: str
    seed: int
    stop: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[tuple[str, str, str]] = field(default_factory=list)
    count: int = 0

    def run(self) -> None:
        draw = random.Random(self.seed)
        while not self.stop.is_set():
            self.count += 1
            path = f"{draw.choice('abc')}/{self.count}"
            data = draw.randbytes(draw.choice((10, 5000, 200_000, 3_000_000)))
            try:
                oid = draw.choice((self.regular, self.lfs, self.xet))(path, data)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)
                continue
            self.acknowledged.append((oid, path, hashlib.sha256(data).hexdigest()))

    def regular(self, path: str, data: bytes) -> str:
        content = base64.b64encode(data).decode()
        value = {"path": path, "content": content, "encoding": "base64"}
        return commit(self.url, self.repo, {"key": "file", "value": value})

    def lfs(self, path: str, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        body = {"operation": "upload", "objects": [{"oid": sha256, "size": len(data)}]}
        answer = call(self.url, "POST", f"/{self.repo}.git/info/lfs/objects/batch", json.dumps(body).encode())
        href = json.loads(answer)["objects"][0]["actions"]["upload"]["href"]
        call(self.url, "PUT", href.removeprefix(self.url), data)
        return self.large(path, data)

    def large(self, path: str, data: bytes) -> str:
        value = {"path": path, "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        return commit(self.url, self.repo, {"key": "lfsFile", "value": value})

    def xet(self, path: str, data: bytes) -> str:
        answer = json.loads(call(self.url, "GET", f"/api/models/{self.repo}/xet-write-token/main"))
        store, token = answer["casUrl"].removeprefix(self.url), {"Authorization": f"Bearer {answer['accessToken']}"}
        xorb = xorb_of(data)
        call(self.url, "POST", f"{store}/v1/xorbs/default/{xorb.name}", xorb.body, token)
        call(self.url, "POST", f"{store}/v1/shards", shard([xorb.segment()]), token)
        return self.large(path, data)


def check_acknowledged(hub: Hub, pusher: Pusher) -> None:
    """Every acknowledged commit is in the branch's history, and holds what was pushed."""
    repo = hub.repositories.find("model", *pusher.repo.split("/"))
    history = {commit.oid: commit for commit in hub.repositories.history(repo, repo.head, 10**6)}
    tip = dict(hub.trees.files(history[repo.head].tree))
    for oid, path, sha256 in pusher.acknowledged:
        assert oid in history, f"commit {oid} was acknowledged and is gone"
        assert tip[path].sha256 == sha256
        assert hub.blobs.find(sha256) is not None


def kill_often(start_hub, data: Path, kills: int, start_command, seed: int = 0) -> None:
    hub = start_hub(data)
    port = int(hub.url.rpartition(":")[2])
    pushers = [Pusher(hub.url, f"faults/repo{index}", 3 * seed + index) for index in range(3)]
    for pusher in pushers:
        name = pusher.repo.partition("/")[2]
        call(hub.url, "POST", "/api/repos/create", json.dumps({"name": name, "organization": "faults"}).encode())
    threads = [threading.Thread(target=pusher.run) for pusher in pushers]
    for thread in threads:
        thread.start()
    draw = random.Random(seed)
    try:
        for kill in range(kills):
            time.sleep(draw.uniform(0.1, 0.8))
            if kill % 4 == 1:
                collector = start_command("gc", "--grace", "0", "--data", data)
                time.sleep(draw.uniform(0.3, 1.5))
                collector.kill()
                collector.communicate()
            hub.kill()
            state = Hub(data)
            assert check(state) == []
            for pusher in pushers:
                check_acknowledged(state, pusher)
            state.close()
            hub = start_hub(data, port=port)
            # Each round lets work be done again before the next kill.
            done = sum(len(pusher.acknowledged) for pusher in pushers)
            until = time.monotonic() + 20
            while sum(len(pusher.acknowledged) for pusher in pushers) == done and time.monotonic() < until:
                time.sleep(0.02)
    finally:
        for pusher in pushers:
            pusher.stop.set()
        for thread in threads:
            thread.join()
    state = Hub(data)
    assert check(state) == []
    for pusher in pushers:
        check_acknowledged(state, pusher)
    print(f"{kills} kills, {sum(len(p.acknowledged) for p in pushers)} commits acknowledged, all of them there")
    assert all(pusher.acknowledged for pusher in pushers)


def test_kill_during_mixed_uploads(start_hub, tmp_path, start_command) -> None:
    kill_often(start_hub, tmp_path / "hub", 5, start_command)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(4))
def test_hundred_kills_during_mixed_uploads(start_hub, tmp_path, start_command, seed: int) -> None:
    kill_often(start_hub, tmp_path / "hub", 25, start_command, seed)


def test_clients_that_vanish(start_hub) -> None:
    hub = start_hub()
    call(hub.url, "POST", "/api/repos/create", b'{"name": "m", "organization": "faults"}')
    address = urlsplit(hub.url)
    sha256 = "a" * 64
    body = json.dumps({"operation": "upload", "objects": [{"oid": sha256, "size": 10**9}]}).encode()
    answer = json.loads(call(hub.url, "POST", "/faults/m.git/info/lfs/objects/batch", body))
    target = answer["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)
    for length in (0, 1000, 3_000_000):
        with socket.create_connection((address.hostname, address.port)) as connection:
            head = f"PUT {target} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 1000000000\r\n\r\n"
            connection.sendall(head.encode() + bytes(length))
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        assert b"400" in connection.recv(100)
    deadline = time.monotonic() + 10
    while (left := list((hub.data / "blobs" / "tmp").iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert call(hub.url, "GET", "/healthz") == b'{"status":"ok"}'


def test_graceful_end_finishes_what_is_under_way(start_hub) -> None:
    hub = start_hub()
    pusher = Pusher(hub.url, "faults/slow", 0)
    call(hub.url, "POST", "/api/repos/create", b'{"name": "slow", "organization": "faults"}')
    data = os.urandom(2_000_000)
    sha256 = hashlib.sha256(data).hexdigest()
    body = json.dumps({"operation": "upload", "objects": [{"oid": sha256, "size": len(data)}]}).encode()
    answer = json.loads(call(hub.url, "POST", "/faults/slow.git/info/lfs/objects/batch", body))
    target = answer["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=20)
    connection.putrequest("PUT", target)
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders()
    connection.send(data[:1_000_000])
    time.sleep(0.2)
    hub.process.terminate()
    time.sleep(0.3)
    connection.send(data[1_000_000:])
    assert connection.getresponse().status == 200
    assert hub.process.wait(timeout=20) == 0
    assert Hub(hub.data).blobs.find(sha256).size == len(data)
    assert pusher.acknowledged == []


def test_full_disk(start_hub, tmp_path) -> None:
    """With the size of files limited the kernel refuses writes as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500 * 4096, hard))
    try:
        hub = start_hub()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    call(hub.url, "POST", "/api/repos/create", b'{"name": "m", "organization": "faults"}')
    pusher = Pusher(hub.url, "faults/m", 0)
    # Xet clients retry every 5xx for minutes, so their store says 413.
    for way, status in ((pusher.lfs, "507"), (pusher.xet, "413")):
        with pytest.raises(OSError, match=status):
            way("large", os.urandom(3_000_000))
        pusher.lfs("small", os.urandom(1_000_000))
    assert list((hub.data / "blobs" / "tmp").iterdir()) == []
    hub.kill()
    assert check(Hub(hub.data)) == []
