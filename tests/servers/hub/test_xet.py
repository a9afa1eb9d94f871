"""The Xet formats, chunk by chunk."""

import numpy as np
import pyarrow as pa
import pytest

from hfdistill.servers.hub.direct_files import Incoming, put
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
