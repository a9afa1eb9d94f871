"""Xet uploads: formats chunk by chunk, files made of xorbs, and senders that mean harm."""

import hashlib
import json
import os
import struct

import numpy as np
import pyarrow as pa
import pytest

from hfdistill.servers.hub.accounts import OPEN_USER
from hfdistill.servers.hub.direct_files import Incoming, put
from hfdistill.servers.hub.maintenance import backup, check, collect
from hfdistill.servers.hub.service import Hub
from hfdistill.servers.hub.xet import Unpacker, chunk_ends


def grouped(data: bytes) -> bytes:
    return b"".join(data[column::4] for column in range(4))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000, 1001, 65_536, 131_072])
@pytest.mark.parametrize("scheme", [0, 1, 2])
def test_chunks_come_back_as_they_were(tmp_path, size: int, scheme: int) -> None:
    draw = np.random.default_rng(size)
    contents = [draw.bytes(size), b"a" * size, draw.standard_normal(size // 4 + 1).astype("f4").tobytes()[:size]]
    lz4 = pa.Codec("lz4")
    xorb = b""
    for content in contents * 7:
        packed = content if scheme == 0 else lz4.compress(content if scheme == 1 else grouped(content), asbytes=True)
        xorb += b"\0" + len(packed).to_bytes(3, "little") + bytes([scheme]) + size.to_bytes(3, "little") + packed
    # The footer that clients may append is not a chunk.
    xorb += b"XETBLOB" + bytes(100)
    incoming = Incoming(tmp_path / "xorb", hashed=False)
    unpacker = Unpacker(incoming)
    for start in range(0, len(xorb), 70_001):
        put(xorb[start : start + 70_001], unpacker)
    unpacker.finish()
    incoming.close()
    ends = chunk_ends(tmp_path / "xorb")
    assert list(ends) == [size * count for count in range(22)]
    assert (tmp_path / "xorb").read_bytes()[: ends[-1]] == b"".join(contents * 7)


def xet_store(hub, repo: str) -> tuple[str, dict]:
    answer = json.loads(hub.request("GET", f"/api/models/{repo}/xet-write-token/main")[2])
    return answer["casUrl"].removeprefix(hub.url), {"Authorization": f"Bearer {answer['accessToken']}"}


def chunk(data: bytes, scheme: int = 0, size: int | None = None) -> bytes:
    announced = len(data) if size is None else size
    header = bytes([0]) + len(data).to_bytes(3, "little") + bytes([scheme]) + announced.to_bytes(3, "little")
    return header + data


def words(text: str) -> bytes:
    return struct.pack("<4Q", *(int(text[i : i + 16], 16) for i in range(0, 64, 16)))


def shard(xorb: str, sha256: str, size: int, start: int = 0, end: int = 1, count: int = 1) -> bytes:
    return shard_of(sha256, [(xorb, size, start, end)] * count)


def shard_of(sha256: str, segments: list[tuple[str, int, int, int]]) -> bytes:
    header = b"HFRepoMetaData\0".ljust(32, b"\x55") + struct.pack("<QQ", 2, 0)
    entries = b"".join(words(xorb) + struct.pack("<4I", 0, *numbers) for xorb, *numbers in segments)
    start_of_file = words("1" * 64) + struct.pack("<IIQ", 1 << 30, len(segments), 0)
    return header + start_of_file + entries + words(sha256) + bytes(16) + b"\xff" * 32 + bytes(16)


def test_xet_takes_what_is_right(hub, repo) -> None:
    store, token = xet_store(hub, repo)
    data = os.urandom(5000)
    assert hub.request("POST", f"{store}/v1/xorbs/default/{'1' * 64}", chunk(data), token)[0] == 200
    body = shard("1" * 64, hashlib.sha256(data).hexdigest(), len(data))
    assert hub.request("POST", f"{store}/v1/shards", body, token)[0] == 200
    oid = hashlib.sha256(data).hexdigest()
    assert hub.commit(repo, {"key": "lfsFile", "value": {"path": "xet", "oid": oid, "size": 5000}})[0] == 200
    assert hub.request("GET", f"/{repo}/resolve/main/xet")[2] == data


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
    assert hub.request("POST", f"{store}/v1/xorbs/default/{'2' * 64}", body, token)[0] == 400


@pytest.mark.parametrize("name", ["..%2F..%2Fhub.sqlite", "g" * 64, "a" * 63, "%00", "A" * 64])
def test_xorb_hashes(hub, repo, name: str) -> None:
    store, token = xet_store(hub, repo)
    assert hub.request("POST", f"{store}/v1/xorbs/default/{name}", chunk(b"x"), token)[0] in (400, 404)


def test_stores_and_tokens_of_others(hub, repo) -> None:
    store, token = xet_store(hub, repo)
    path = f"/v1/xorbs/default/{'3' * 64}"
    assert hub.request("POST", f"{store}{path}", chunk(b"x"))[0] == 401
    assert hub.request("POST", f"{store}{path}", chunk(b"x"), {"Authorization": "Bearer x.y.z"})[0] == 403
    assert hub.request("POST", f"/_cas/{'0' * 16}{path}", chunk(b"x"), token)[0] == 403


def test_decompression_bombs(hub, repo) -> None:
    import pyarrow as pa

    store, token = xet_store(hub, repo)
    bomb = pa.Codec("lz4").compress(bytes(200_000_000), asbytes=True)
    for body in (chunk(bomb[:100_000], scheme=1, size=200_000), chunk(bomb, scheme=1, size=2**24 - 1)):
        assert hub.request("POST", f"{store}/v1/xorbs/default/{'4' * 64}", body, token)[0] == 400
    # Chunks that are small each, and too much together.
    some = chunk(pa.Codec("lz4").compress(bytes(200_000), asbytes=True), scheme=1, size=200_000)
    assert hub.request("POST", f"{store}/v1/xorbs/default/{'4' * 64}", some * 500, token)[0] == 400
    assert hub.request("POST", f"{store}/v1/xorbs/default/{'4' * 64}", some * 100, token)[0] == 200
    # One chunk, named so often that the file would fill any disk.
    data = os.urandom(100_000)
    assert hub.request("POST", f"{store}/v1/xorbs/default/{'6' * 64}", chunk(data), token)[0] == 200
    body = shard("6" * 64, "5" * 64, 100_000, count=1_000_000)
    assert hub.request("POST", f"{store}/v1/shards", body, token)[0] in (413, 507)
    body = shard("6" * 64, "5" * 64, 1, count=1_000_000)
    assert hub.request("POST", f"{store}/v1/shards", body, token)[0] == 400


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
    assert hub.request("POST", f"{store}/v1/xorbs/default/{'9' * 64}", chunk(data), token)[0] == 200
    values = {"xorb": "9" * 64, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert hub.request("POST", f"{store}/v1/shards", shard(**{**values, **change}), token)[0] == 400


def test_malformed_shards(hub, repo) -> None:
    store, token = xet_store(hub, repo)
    whole = shard("9" * 64, "8" * 64, 1000)
    for length in (0, 10, 47, 48, 60, 100, len(whole) - 60):
        assert hub.request("POST", f"{store}/v1/shards", whole[:length], token)[0] == 400
    many = bytearray(whole)
    many[48 + 36 : 48 + 40] = b"\xff\xff\xff\xff"
    assert hub.request("POST", f"{store}/v1/shards", bytes(many), token)[0] == 400


def test_a_file_of_several_xorbs_is_served_from_them(start_hub) -> None:
    """Its parts lie inside of two xorbs, and a third xorb is sent under the name of the first afterwards."""
    hub = start_hub()
    repo = hub.create("parts")
    store, token = xet_store(hub, repo)
    xorbs = {name * 64: [os.urandom(100_000 + index) for index in range(40)] for name in "ab"}
    for name, chunks in xorbs.items():
        body = b"".join(map(chunk, chunks))
        assert hub.request("POST", f"{store}/v1/xorbs/default/{name}", body, token)[0] == 200
    a, b = xorbs.values()
    segments = [("a" * 64, a, 5, 30), ("b" * 64, b, 0, 20), ("b" * 64, b, 20, 40), ("a" * 64, a, 2, 16)]
    data = b"".join(part for _, chunks, start, end in segments for part in chunks[start:end])
    sha256 = hashlib.sha256(data).hexdigest()
    sizes = [(name, sum(map(len, chunks[start:end])), start, end) for name, chunks, start, end in segments]
    assert hub.request("POST", f"{store}/v1/shards", shard_of(sha256, sizes), token)[0] == 200
    value = {"path": "w.bin", "oid": sha256, "size": len(data)}
    assert hub.commit(repo, {"key": "lfsFile", "value": value})[0] == 200
    assert hub.request("POST", f"{store}/v1/xorbs/default/{'a' * 64}", chunk(b"other"), token)[0] == 200

    path, first = f"/{repo}/resolve/main/w.bin", sizes[0][1]
    status, headers, content = hub.request("GET", path)
    assert (status, headers["etag"], content == data) == (200, f'"{sha256}"', True)
    for start, end in ((0, 9), (first - 5, first + 4), (first + 10, len(data) - 1), (7, len(data) - 8), (9, 10**6)):
        status, headers, content = hub.request("GET", path, headers={"Range": f"bytes={start}-{end}"})
        assert status == 206 and content == data[start : end + 1], (start, end)
        assert headers["content-range"] == f"bytes {start}-{end}/{len(data)}"

    hub.stop()
    state = Hub(hub.data)
    with state.blobs.find(sha256).open() as file:
        file.seek(-1000, os.SEEK_END)
        assert file.read() == data[-1000:]
    # A collection takes the xorbs, not what files made of them still need.
    collect(state, 0)
    assert list(state.xorbs.folder.glob("*/*/*")) == [] and check(state) == []
    assert backup(state, hub.data.parent / "copy") == 1
    copy = Hub(hub.data.parent / "copy")
    assert check(copy) == [] and copy.blobs.find(sha256).read() == data
    part = state.blobs.find(sha256).parts[0].path
    with open(part, "r+b") as file:
        file.seek(first // 2 + 500_000)
        file.write(b"rot")
    assert check(state) == [f"content {sha256} is damaged"]
    part.unlink()
    assert check(state, contents=False) == [f"a part of content {sha256} is missing"]
    state.repositories.delete(OPEN_USER, "model", repo)
    assert collect(state, 0).blobs == 1 and list(state.blobs.folder.glob("*/*/*")) == []
