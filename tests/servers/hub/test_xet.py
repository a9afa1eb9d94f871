"""The Xet formats, chunk by chunk."""

import os

import numpy as np
import pyarrow as pa
import pytest

from hfdistill.servers.hub.xet import chunk_positions, unpack_chunks


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
    path = tmp_path / "xorb"
    # The footer that clients may append is not a chunk.
    path.write_bytes(xorb + b"XETBLOB" + bytes(100))
    file = os.open(path, os.O_RDONLY)
    try:
        chunks = chunk_positions(file, path.stat().st_size)
        assert len(chunks) == 21
        assert b"".join(bytes(piece) for piece in unpack_chunks(file, chunks)) == b"".join(contents * 7)
        assert b"".join(bytes(piece) for piece in unpack_chunks(file, chunks[2:4])) == contents[2] + contents[0]
    finally:
        os.close(file)
