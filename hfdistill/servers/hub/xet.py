"""What Xet clients send: xorbs (packs of chunks) and shards (which chunks make which file)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from .direct_files import Incoming, put
from .errors import HubError, bad_request
from .xet_hashes import HASH, chunk_hash, hash_text, xorb_hash


# The protocol's limits: a chunk has at most 128 KiB, a xorb 8,192 chunks and 64 MiB, packed and unpacked. Some slack,
# no more: what a sender announces is what we allocate.
MAX_CHUNK = 256 * 1024
MAX_CHUNKS = 10_000
MAX_XORB = 72 * 1024**2
MAX_SHARD = 72 * 1024**2
# Of runs of chunks in a file, which clients make eight chunks long on average at least: what 50 GB need.
MAX_RUNS = 2**17

RECORD = 48
CHUNK_HEADER = 8
SHARD_TAG = b"HFRepoMetaData\0"
HAS_VERIFICATION = 1 << 31
HAS_SHA256 = 1 << 30
END = b"\xff" * 32
NO_COMPRESSION, LZ4, GROUPED_LZ4 = 0, 1, 2

# Records of a shard. A segment of a file: chunks `start` to `end` (excluded) of a xorb, `size` bytes unpacked.
SEGMENT = np.dtype([("xorb", "V32"), ("flags", "<u4"), ("size", "<u4"), ("start", "<u4"), ("end", "<u4")])
SEGMENT_HASH = np.dtype([("hash", "V32"), ("unused", "V16")])
CHUNK = np.dtype([("hash", HASH), ("start", "<u4"), ("size", "<u4"), ("flags", "<u4"), ("unused", "<u4")])

_lz4 = pa.Codec("lz4")


@dataclass(frozen=True)
class FileRecipe:
    """A file as a shard describes it: its hash and its sha256, and of its segments the fields of `SEGMENT` and the
    hashes of the chunks that each consists of.
    """

    hash: bytes
    sha256: str
    segments: np.ndarray
    segment_hashes: np.ndarray

    @property
    def size(self) -> int:
        return int(self.segments["size"].sum(dtype=np.uint64))

    @property
    def chunks(self) -> int:
        """How many, those that are named again counted again."""
        return int((self.segments["end"].astype(np.int64) - self.segments["start"]).sum())


@dataclass(frozen=True)
class XorbRecipe:
    """A xorb as a shard describes it; `chunks` has the fields of `CHUNK`."""

    hash: str
    chunks: np.ndarray


def read_shard(shard: BinaryIO) -> Iterator[FileRecipe | XorbRecipe]:
    """The files that a shard describes, then the xorbs.

    Raises:
        [`HubError`]: 400, it is malformed; what came before is well-formed.
    """
    if not _records(shard, 1).startswith(SHARD_TAG):
        raise bad_request("Not a shard: wrong header.")
    while (header := _records(shard, 1))[:32] != END:
        flags, count = struct.unpack_from("<II", header, 32)
        if not flags & HAS_VERIFICATION or not flags & HAS_SHA256:
            raise bad_request("A file of the shard has no sha256 or no hashes of its segments.")
        if count > MAX_RUNS:
            raise HubError(413, f"A file may consist of at most {MAX_RUNS} runs of chunks.")
        segments = np.frombuffer(_records(shard, count), SEGMENT)
        hashes = np.frombuffer(_records(shard, count), SEGMENT_HASH)["hash"]
        yield FileRecipe(header[:32], hash_text(_records(shard, 1)[:32]), segments, hashes)
    while (header := _records(shard, 1))[:32] != END:
        (count,) = struct.unpack_from("<I", header, 36)
        if count > MAX_CHUNKS:
            raise bad_request("The shard lists a xorb of too many chunks.")
        yield XorbRecipe(hash_text(header[:32]), np.frombuffer(_records(shard, count), CHUNK))


def _records(shard: BinaryIO, count: int) -> bytes:
    # Not asked for at all where it cannot be there: a read makes room for what is asked.
    data = shard.read(count * RECORD) if count * RECORD <= MAX_SHARD else b""
    if len(data) < count * RECORD:
        raise bad_request("The shard is cut short.")
    return data


class Unpacker:
    """Takes in a xorb and writes it unpacked: the chunks one after the other, then their index, which is where each of
    them ends, the hash of each, and how many they are.

    Args:
        target (`Incoming`):
            Where to write.
    """

    def __init__(self, target: Incoming):
        self._target = target
        self._buffer = memoryview(bytearray(3 * MAX_CHUNK))
        self._begin = self._end = 0
        self._ends = [0]
        self._hashes: list[bytes] = []
        self._complete = False

    def room(self) -> memoryview:
        if len(self._buffer) - self._end < MAX_CHUNK:
            rest = self._end - self._begin
            self._buffer[:rest] = self._buffer[self._begin : self._end]
            self._begin, self._end = 0, rest
        return self._buffer[self._end :]

    def advance(self, count: int) -> None:
        self._end += count
        while not self._complete and self._end - self._begin > CHUNK_HEADER:
            content = self._begin + CHUNK_HEADER
            header = bytes(self._buffer[self._begin : content])
            if header[:7] == b"XETBLOB":
                self._complete = True  # the footer, an index that is of no use here
                break
            packed = int.from_bytes(header[1:4], "little")
            size = int.from_bytes(header[5:8], "little")
            if header[0] != 0 or header[4] > GROUPED_LZ4 or not 0 < size <= MAX_CHUNK or packed > size + 4096:
                raise bad_request("The xorb holds a malformed chunk.")
            if content + packed > self._end:
                return
            if self._ends[-1] + size > MAX_XORB or len(self._hashes) == MAX_CHUNKS:
                raise bad_request(f"The xorb is over {MAX_XORB} bytes unpacked or {MAX_CHUNKS} chunks.")
            chunk = unpack_chunk(self._buffer[content : content + packed], header[4], size)
            self._hashes.append(chunk_hash(chunk))
            self._ends.append(self._ends[-1] + size)
            put(chunk, self._target)
            self._begin = content + packed
        if self._complete or self._begin == self._end:
            self._begin = self._end = 0

    def finish(self, announced: str) -> None:
        """Ends with the index.

        Args:
            announced (`str`):
                What the xorb's hash should be.

        Raises:
            [`HubError`]: 400, the xorb is cut short or empty, or its hash is another one.
        """
        # Some clients end a xorb with a few bytes that are no chunk.
        if self._end - self._begin > CHUNK_HEADER:
            raise bad_request("The xorb is cut short.")
        if not self._hashes:
            raise bad_request("The xorb holds no chunk.")
        ends = np.array(self._ends, "<u4")
        hashes = np.frombuffer(b"".join(self._hashes), HASH)
        if hash_text(xorb_hash(hashes, np.diff(ends))) != announced:
            raise bad_request(f"The xorb's chunks do not have the hash {announced}.")
        put(ends[1:].tobytes() + hashes.tobytes() + len(hashes).to_bytes(4, "little"), self._target)


def unpack_chunk(data: memoryview, scheme: int, size: int) -> memoryview:
    """A chunk's content, which must have the announced size: no chunk takes more room than that."""
    content: memoryview | pa.Buffer = data
    if scheme != NO_COMPRESSION:
        try:
            content = _lz4.decompress(data, decompressed_size=size)
        except (pa.ArrowException, OSError) as error:
            raise bad_request("A chunk is not valid LZ4.") from error
    if len(content) != size:
        raise bad_request("A chunk's size is not what its header says.")
    if scheme != GROUPED_LZ4:
        return memoryview(content).cast("B")
    # Every fourth byte was put beside its like, which makes floats compress better.
    grouped, plain = np.frombuffer(content, np.uint8), np.empty(size, np.uint8)
    start = 0
    for column in range(4):
        length = (size - column + 3) // 4
        plain[column::4] = grouped[start : start + length]
        start += length
    return memoryview(plain)
