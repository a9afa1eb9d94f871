"""Xet uploads: formats chunk by chunk, files made of xorbs, and senders that mean harm."""

import hashlib
import io
import os
import struct

import numpy as np
import pyarrow as pa
import pytest

from hfdistill.servers.hub.accounts import OPEN_USER
from hfdistill.servers.hub.direct_files import Incoming, put
from hfdistill.servers.hub.errors import HubError
from hfdistill.servers.hub.maintenance import backup, check, collect
from hfdistill.servers.hub.service import Hub
from hfdistill.servers.hub.xet import Unpacker, read_shard
from hfdistill.servers.hub.xorbs import is_sound, read_index

from .xet_uploads import Segment, Sender, Xorb, chunk_hash, content, flipped, large_file, packed, shard, xorb_of


def grouped(data: bytes) -> bytes:
    return b"".join(data[column::4] for column in range(4))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000, 1001, 65_536, 131_072])
@pytest.mark.parametrize("scheme", [0, 1, 2])
def test_chunks_come_back_as_they_were(tmp_path, size: int, scheme: int) -> None:
    draw = np.random.default_rng(size)
    contents = [draw.bytes(size), b"a" * size, draw.standard_normal(size // 4 + 1).astype("f4").tobytes()[:size]]
    lz4 = pa.Codec("lz4")
    xorb = b""
    for plain in contents * 7:
        data = plain if scheme == 0 else lz4.compress(plain if scheme == 1 else grouped(plain), asbytes=True)
        xorb += packed(data, scheme, size)
    # The footer that clients may append is not a chunk.
    xorb += b"XETBLOB" + bytes(100)
    name = Xorb(contents * 7).name
    incoming = Incoming(tmp_path / name, hashed=False)
    unpacker = Unpacker(incoming)
    for start in range(0, len(xorb), 70_001):
        put(xorb[start : start + 70_001], unpacker)
    unpacker.finish(name)
    incoming.close()
    index = read_index(tmp_path / name)
    assert list(index.ends) == [size * count for count in range(22)]
    assert [hashed.tobytes() for hashed in index.hashes] == list(map(chunk_hash, contents * 7))
    assert (tmp_path / name).read_bytes()[: index.ends[-1]] == b"".join(contents * 7)
    assert is_sound(tmp_path / name)


@pytest.fixture
def sender(hub, repo) -> Sender:
    return Sender(hub, repo)


def test_xet_takes_what_is_right(hub, repo, sender) -> None:
    xorb = xorb_of(os.urandom(500_000), 5000)
    assert sender.xorb(xorb) == (200, '{"was_inserted":true}') and sender.xorb(xorb) == (200, '{"was_inserted":false}')
    segments = [xorb.segment(3, 80), xorb.segment(0, 4), xorb.segment(0, 4), xorb.segment(99)]
    assert sender.shard(shard(segments))[0] == 200
    data = content(segments)
    assert hub.commit(repo, large_file("xet", data))[0] == 200
    assert hub.request("GET", f"/{repo}/resolve/main/xet")[2] == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage of some length, longer than a header",
        packed(b"x" * 100)[:-1],
        packed(b"x", size=2**24 - 1),
        packed(b"x" * 100, scheme=9),
        packed(b"") * 3,
        packed(b"x") * 10_001,
        b"\xff" * 1000,
    ],
)
def test_malformed_xorbs(sender, body: bytes) -> None:
    assert sender.xorb(Xorb([b"x"]), body=body)[0] == 400


@pytest.mark.parametrize("name", ["..%2F..%2Fhub.sqlite", "g" * 64, "a" * 63, "%00", "A" * 64])
def test_xorb_hashes(sender, name: str) -> None:
    assert sender.xorb(Xorb([b"x"]), name)[0] in (400, 404)


def test_stores_and_tokens_of_others(hub, sender) -> None:
    path, body = f"/v1/xorbs/default/{'3' * 64}", packed(b"x")
    assert hub.request("POST", f"{sender.store}{path}", body)[0] == 401
    assert hub.request("POST", f"{sender.store}{path}", body, {"Authorization": "Bearer x.y.z"})[0] == 403
    assert hub.request("POST", f"/_cas/{'0' * 32}{path}", body, sender.headers)[0] == 403


def test_decompression_bombs(sender) -> None:
    bomb = pa.Codec("lz4").compress(bytes(200_000_000), asbytes=True)
    for body in (packed(bomb[:100_000], scheme=1, size=200_000), packed(bomb, scheme=1, size=2**24 - 1)):
        assert sender.xorb(Xorb([b"x"]), body=body)[0] == 400
    # Chunks that are small each, and too much together.
    some = packed(pa.Codec("lz4").compress(bytes(200_000), asbytes=True), scheme=1, size=200_000)
    assert sender.xorb(Xorb([bytes(200_000)] * 500), body=some * 500)[0] == 400
    zeros = Xorb([bytes(200_000)] * 100)
    assert sender.xorb(zeros, body=some * 100)[0] == 200
    # Named so often that hashing the file would take half a minute: refused before.
    status, answer = sender.shard(repeated(shard([zeros.segment()]), 300))
    assert status == 413 and "may repeat" in answer
    # One chunk, named so often that the file would fill any disk.
    xorb = Xorb([os.urandom(100_000)])
    assert sender.xorb(xorb)[0] == 200
    assert sender.shard(repeated(shard([xorb.segment()]), 600_000))[0] == 413
    # So many chunks that their hashes alone would fill the memory.
    tiny = Xorb([b"x"] * 10_000)
    assert sender.xorb(tiny)[0] == 200
    assert sender.shard(repeated(shard([tiny.segment()], listed=[]), 200))[0] == 413


def repeated(shard: bytes, count: int) -> bytes:
    """The shard of a file of one segment with this segment `count` times."""
    segment, hashed = shard[96:144], shard[144:192]
    return shard[:84] + struct.pack("<I", count) + shard[88:96] + segment * count + hashed * count + shard[192:]


def test_shards_that_say_what_is_not_so(sender) -> None:
    """Every field that means something is changed, bit by bit; so is the sha256 alone."""
    xorb, unknown = xorb_of(bytes(range(200)) * 20, 1000), xorb_of(b"nobody sent this")
    assert sender.xorb(xorb)[0] == 200
    good = shard([xorb.segment(1, 3)])
    # Of the header the tag; the file's hash and flags; xorb, size, start and end; hash of the segment; sha256; then
    # the listed xorb's hash and count, and of its first chunk hash and size.
    fields = [(0, 14), (48, 80), (84, 88), (96, 128), (132, 144), (144, 176), (192, 224), (288, 320), (324, 328)]
    for first, last in [*fields, (336, 368), (372, 376)]:
        for position in range(first, last, 5):
            assert sender.shard(flipped(good, position))[0] == 400, position
            # A refused shard ends the store, for new uploads.
            assert sender.xorb(xorb)[0] == 200
    assert sender.shard(shard([xorb.segment()], sha256="8" * 64))[0] == 400
    assert sender.shard(shard([unknown.segment()]))[0] == 400
    assert sender.shard(shard([xorb.segment()], listed=[unknown]))[0] == 400
    assert sender.shard(shard([Segment(xorb, 0, 9)]))[0] == 400
    assert sender.shard(good) == (200, '{"result":1}')


def test_malformed_shards(sender) -> None:
    whole = shard([Xorb([b"x" * 1000]).segment()])
    for length in range(0, len(whole), 24):
        assert sender.shard(whole[:length])[0] == 400
    for count, why in ((b"\xff\xff\xff\xff", "131072 runs"), (b"\x00\x00\x01\x00", "cut short")):
        with pytest.raises(HubError, match=why):
            list(read_shard(io.BytesIO(whole[:84] + count + whole[88:])))
    assert sender.shard(flipped(whole, 83))[0] == 400


def test_a_file_of_several_xorbs_is_served_from_them(start_hub) -> None:
    """Its parts lie inside of two xorbs."""
    hub = start_hub()
    repo = hub.create("parts")
    sender = Sender(hub, repo)
    a, b = (Xorb([os.urandom(100_000 + index) for index in range(40)]) for _ in "ab")
    assert sender.xorb(a)[0] == 200 and sender.xorb(b)[0] == 200
    segments = [a.segment(5, 30), b.segment(0, 20), b.segment(20, 40), a.segment(2, 16)]
    data = content(segments)
    sha256 = hashlib.sha256(data).hexdigest()
    assert sender.shard(shard(segments))[0] == 200
    assert hub.commit(repo, large_file("w.bin", data))[0] == 200

    path, first = f"/{repo}/resolve/main/w.bin", len(content(segments[:1]))
    status, headers, got = hub.request("GET", path)
    assert (status, headers["etag"], got == data) == (200, f'"{sha256}"', True)
    for start, end in ((0, 9), (first - 5, first + 4), (first + 10, len(data) - 1), (7, len(data) - 8), (9, 10**6)):
        status, headers, got = hub.request("GET", path, headers={"Range": f"bytes={start}-{end}"})
        assert status == 206 and got == data[start : end + 1], (start, end)
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
    (problem,) = check(state)
    assert problem.startswith(f"content {sha256} is damaged: its sha256 is ") and f"(w.bin of {repo})" in problem
    part.unlink()
    assert check(state, contents=False) == [f"a part of content {sha256} is missing or cut short (w.bin of {repo})"]
    state.repositories.delete(OPEN_USER, "model", repo)
    assert collect(state, 0).blobs == 1 and list(state.blobs.folder.glob("*/*/*")) == []
