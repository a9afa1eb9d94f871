"""Taking in Xet uploads: xorbs (packs of chunks) and shards (which chunks make which file).

Files are rebuilt as soon as a shard names them, checked against their sha256 and kept as plain blobs, so downloads
are plain HTTP whichever way a file came. The xorbs stay beside them, because clients remember which chunks they have
sent and will refer to them again.
"""

import os
import re
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from .blobs import BlobStore, Incoming, check_size, disk_errors
from .errors import HubError, bad_request


HASH = re.compile(r"[0-9a-f]{64}")
# The protocol's limits: a chunk has at most 128 KiB, a xorb 64 MiB. Some slack, no more: what a sender announces is
# what we allocate.
MAX_CHUNK = 1024 * 1024
MAX_XORB = 72 * 1024**2
MAX_SHARD = 72 * 1024**2
BATCH = 16

RECORD = 48
CHUNK_HEADER = 8
SHARD_TAG = b"HFRepoMetaData\0"
HAS_VERIFICATION = 1 << 31
HAS_SHA256 = 1 << 30
END = b"\xff" * 32
NO_COMPRESSION, LZ4, GROUPED_LZ4 = 0, 1, 2

_lz4 = pa.Codec("lz4")


# A segment of a file: chunks `start` to `end` (excluded) of a xorb, `size` bytes unpacked.
SEGMENT = np.dtype([("xorb", "V32"), ("flags", "<u4"), ("size", "<u4"), ("start", "<u4"), ("end", "<u4")])


@dataclass(frozen=True)
class FileRecipe:
    """A file as a shard describes it; `segments` has the fields of `SEGMENT`."""

    sha256: str
    segments: np.ndarray

    @property
    def size(self) -> int:
        return int(self.segments["size"].sum(dtype=np.uint64))


def hash_text(data: bytes) -> str:
    """The text form of a hash: four little-endian words, each as 16 digits."""
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", data))


def read_shard(data: bytes) -> list[FileRecipe]:
    """The files that a shard describes.

    Raises:
        [`HubError`]: 400, it is malformed.
    """
    if not data.startswith(SHARD_TAG) or len(data) < RECORD:
        raise bad_request("Not a shard: wrong header.")
    position = RECORD
    files = []
    while True:
        header = _record(data, position)
        if header[:32] == END:
            return files
        flags, count = struct.unpack_from("<II", header, 32)
        position += RECORD
        if position + count * RECORD > len(data):
            raise bad_request("The shard is cut short.")
        segments = np.frombuffer(data, SEGMENT, count, position)
        position += count * RECORD
        if flags & HAS_VERIFICATION:
            position += count * RECORD
        if not flags & HAS_SHA256:
            raise bad_request("A file of the shard has no sha256.")
        files.append(FileRecipe(hash_text(_record(data, position)[:32]), segments))
        position += RECORD


def _record(data: bytes, position: int) -> bytes:
    record = data[position : position + RECORD]
    if len(record) < RECORD:
        raise bad_request("The shard is cut short.")
    return record


def chunk_positions(file: int, size: int) -> list[tuple[int, int, int, int]]:
    """Walks a xorb's chunks without unpacking them: (position, packed size, scheme, size) of each."""
    chunks = []
    position = 0
    while position + CHUNK_HEADER <= size:
        header = os.pread(file, CHUNK_HEADER, position)
        if header[:7] == b"XETBLOB":
            break  # the footer, an index that the walk makes superfluous
        packed = int.from_bytes(header[1:4], "little")
        unpacked = int.from_bytes(header[5:8], "little")
        if header[0] != 0 or header[4] > GROUPED_LZ4 or unpacked > MAX_CHUNK or packed > unpacked + 4096:
            if size - position <= CHUNK_HEADER:
                break
            raise bad_request("The xorb holds a malformed chunk.")
        position += CHUNK_HEADER
        if position + packed > size:
            raise bad_request("The xorb is cut short.")
        chunks.append((position, packed, header[4], unpacked))
        position += packed
    if not chunks:
        raise bad_request("The xorb holds no chunk.")
    return chunks


def unpack_chunk(data: memoryview, scheme: int, target: memoryview) -> None:
    """Unpacks a chunk into `target`, whose length is the announced one: no chunk takes more room than that."""
    content: memoryview | pa.Buffer = data
    if scheme != NO_COMPRESSION:
        try:
            content = _lz4.decompress(data, decompressed_size=len(target))
        except (pa.ArrowException, OSError) as error:
            raise bad_request("A chunk is not valid LZ4.") from error
    if len(content) != len(target):
        raise bad_request("A chunk's size is not what its header says.")
    if scheme != GROUPED_LZ4:
        target[:] = memoryview(content).cast("B")
        return
    # Every fourth byte was put beside its like, which makes floats compress better.
    grouped, plain = np.frombuffer(content, np.uint8), np.frombuffer(target, np.uint8)
    start = 0
    for column in range(4):
        length = (len(target) - column + 3) // 4
        plain[column::4] = grouped[start : start + length]
        start += length


def unpack_chunks(file: int, chunks: list[tuple[int, int, int, int]]) -> Iterator[memoryview]:
    """The contents of neighbouring chunks, about a megabyte at a time, in a buffer that the next piece overwrites."""
    source, target = memoryview(bytearray()), memoryview(bytearray())
    for first in range(0, len(chunks), BATCH):
        batch = chunks[first : first + BATCH]
        begin, end = batch[0][0], batch[-1][0] + batch[-1][1]
        size = sum(chunk[3] for chunk in batch)
        if len(source) < end - begin:
            source = memoryview(bytearray(end - begin))
        if len(target) < size:
            target = memoryview(bytearray(size))
        if os.preadv(file, [source[: end - begin]], begin) != end - begin:
            raise bad_request("The xorb is cut short.")
        filled = 0
        for position, packed, scheme, length in batch:
            start = position - begin
            unpack_chunk(source[start : start + packed], scheme, target[filled : filled + length])
            filled += length
        yield target[:size]


class XorbStore:
    """Xorbs by the id of the store that they were sent to.

    Clients keep what they know of a store by its address. Whenever xorbs may be gone, because old ones were collected
    or the machine crashed before they reached the disk, a store with a new id begins, and so a new address, where
    clients know nothing yet. Uploads under way to the old one go on.

    Args:
        folder (`Path`):
            One folder a store in it.
        blobs (`BlobStore`):
            Where the rebuilt files go.
    """

    def __init__(self, folder: Path, blobs: BlobStore):
        self.folder = folder
        self.blobs = blobs
        folder.mkdir(exist_ok=True)

    @property
    def current(self) -> str:
        return self.blobs.database.meta("store")

    def begin(self) -> None:
        """Starts a new store."""
        self.blobs.database.set_meta("store", secrets.token_hex(8))

    def path(self, store: str, xorb: str) -> Path:
        # Both come from requests: nothing but digits may become a path.
        if not re.fullmatch(r"[0-9a-f]{16}", store) or not HASH.fullmatch(xorb):
            raise bad_request("Malformed store or xorb hash.")
        folder = self.folder / store
        if store != self.current and not folder.is_dir():
            raise HubError(404, f"There is no store '{store}'.")
        return folder / xorb[:2] / xorb

    def keep(self, store: str, xorb: str, incoming: Incoming) -> bool:
        """Checks a received xorb and moves it to its place; returns whether it is new."""
        target = self.path(store, xorb)
        incoming.close()
        with open(incoming.path, "rb") as file:
            chunk_positions(file.fileno(), incoming.size)
        new = not target.exists()
        with disk_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            # An old one is replaced, so that nobody can spoil a hash for others by sending rubbish under it first.
            os.rename(incoming.path, target)
        return new

    def rebuild(self, store: str, recipe: FileRecipe, user: str) -> None:
        """Puts a file together and keeps it as a blob.

        Raises:
            [`HubError`]: 400 where a xorb or chunk is unknown or the sha256 differs.
        """
        check_size(recipe.size)
        self.blobs.check_space(recipe.size)
        with self.blobs.receive() as incoming:
            for content in self._contents(store, recipe):
                incoming.write(content)
            self.blobs.keep(incoming, recipe.sha256, user)

    def _contents(self, store: str, recipe: FileRecipe) -> Iterator[memoryview]:
        chunks: list[tuple[int, int, int, int]] = []
        opened, descriptor = None, -1
        try:
            for words, _, size, start, end in map(np.void.item, recipe.segments):
                xorb = hash_text(words)
                if xorb != opened:
                    if descriptor >= 0:
                        os.close(descriptor)
                        descriptor = -1
                    try:
                        descriptor = os.open(self.path(store, xorb), os.O_RDONLY)
                    except FileNotFoundError as error:
                        raise bad_request(f"The shard names the unknown xorb {xorb}.") from error
                    chunks = chunk_positions(descriptor, os.fstat(descriptor).st_size)
                    opened = xorb
                if not start < end <= len(chunks):
                    raise bad_request(f"The shard names unknown chunks of xorb {xorb}.")
                unpacked = chunks[start:end]
                if sum(chunk[3] for chunk in unpacked) != size:
                    raise bad_request(f"A segment of xorb {xorb} has not the announced {size} bytes.")
                yield from unpack_chunks(descriptor, unpacked)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
