"""Taking in Xet uploads: xorbs (packs of chunks) and shards (which chunks make which file).

Xorbs are unpacked while they come in. A file that a shard names then is nothing but ranges of xorbs: it is read once
to verify its sha256, and served from there, so downloads are plain HTTP whichever way it came. Clients remember which
chunks they have sent and refer to them again.
"""

import hashlib
import os
import re
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from .blobs import BlobStore, check_size, wrong_sha256
from .contents import Blob, Part
from .direct_files import Incoming, disk_errors, put
from .errors import HubError, bad_request


HASH = re.compile(r"[0-9a-f]{64}")
# The protocol's limits: a chunk has at most 128 KiB, a xorb 64 MiB, packed and unpacked. Some slack, no more: what a
# sender announces is what we allocate.
MAX_CHUNK = 256 * 1024
MAX_XORB = 72 * 1024**2
MAX_SHARD = 72 * 1024**2
# Files whose parts are smaller than this on average are copied.
SCATTERED = 1024 * 1024

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


class Unpacker:
    """Takes in a xorb and writes it unpacked: the chunks one after the other, then where each of them ends, then how
    many they are.

    Args:
        target (`Incoming`):
            Where to write.
    """

    def __init__(self, target: Incoming):
        self._target = target
        self._buffer = memoryview(bytearray(3 * MAX_CHUNK))
        self._begin = self._end = 0
        self._ends = [0]
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
            if header[0] != 0 or header[4] > GROUPED_LZ4 or size > MAX_CHUNK or packed > size + 4096:
                raise bad_request("The xorb holds a malformed chunk.")
            if content + packed > self._end:
                return
            if self._ends[-1] + size > MAX_XORB:
                raise bad_request(f"The xorb is over {MAX_XORB} bytes unpacked.")
            put(unpack_chunk(self._buffer[content : content + packed], header[4], size), self._target)
            self._ends.append(self._ends[-1] + size)
            self._begin = content + packed
        if self._complete or self._begin == self._end:
            self._begin = self._end = 0

    def finish(self) -> None:
        """Raises:
        [`HubError`]: 400, the xorb is cut short or empty.
        """
        # Some clients end a xorb with a few bytes that are no chunk.
        if self._end - self._begin > CHUNK_HEADER:
            raise bad_request("The xorb is cut short.")
        if len(self._ends) == 1:
            raise bad_request("The xorb holds no chunk.")
        put(np.array([*self._ends[1:], len(self._ends) - 1], "<u4").tobytes(), self._target)


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


def chunk_ends(xorb: Path) -> np.ndarray:
    """Where each chunk of a kept xorb ends, with a 0 before the first."""
    with open(xorb, "rb") as file:
        file.seek(-4, os.SEEK_END)
        count = int.from_bytes(file.read(4), "little")
        file.seek(-4 * (count + 1), os.SEEK_END)
        return np.concatenate([[0], np.frombuffer(file.read(4 * count), "<u4")])


class XorbStore:
    """Unpacked xorbs by the id of the store that they were sent to.

    Clients keep what they know of a store by its address. Whenever xorbs may be gone, because old ones were collected
    or the machine crashed before they reached the disk, a store with a new id begins, and so a new address, where
    clients know nothing yet. Uploads under way to the old one go on.

    Args:
        folder (`Path`):
            One folder a store in it.
        blobs (`BlobStore`):
            Where the files made of them go.
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
        """Moves an unpacked xorb to its place; returns whether it is new."""
        target = self.path(store, xorb)
        incoming.close()
        new = not target.exists()
        with disk_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            # An old one is replaced, so that nobody can spoil a hash for others by sending rubbish under it first.
            # Files made of the old one have links of their own to it.
            os.rename(incoming.path, target)
        return new

    def make_file(self, store: str, recipe: FileRecipe, user: str) -> None:
        """Keeps a file that consists of chunks.

        Raises:
            [`HubError`]: 400 where a xorb or chunk is unknown or the sha256 differs.
        """
        check_size(recipe.size)
        blob = Blob(recipe.size, None, tuple(self._parts(store, recipe)))
        if blob.size < SCATTERED * len(blob.parts):
            # Small pieces would be slow to serve, and keep much alive that nobody reads.
            self.blobs.check_space(blob.size)
            with self.blobs.receive() as incoming:
                for piece in blob.pieces():
                    put(piece, incoming)
                self.blobs.keep(incoming, recipe.sha256, user)
            return
        digest = hashlib.sha256()
        for piece in blob.pieces():
            digest.update(piece)
        if digest.hexdigest() != recipe.sha256:
            raise wrong_sha256(digest.hexdigest(), recipe.sha256)
        self.blobs.put_together(recipe.sha256, blob.parts, user)

    def _parts(self, store: str, recipe: FileRecipe) -> list[Part]:
        """What a file consists of; neighbouring chunks are one part."""
        parts: list[Part] = []
        known: dict[str, np.ndarray] = {}
        for words, _, size, first, last in map(np.void.item, recipe.segments):
            xorb = hash_text(words)
            path = self.path(store, xorb)
            if xorb not in known:
                try:
                    known[xorb] = chunk_ends(path)
                    os.utime(path)
                except FileNotFoundError as error:
                    raise bad_request(f"The shard names the unknown xorb {xorb}.") from error
            ends = known[xorb]
            if not first < last < len(ends):
                raise bad_request(f"The shard names unknown chunks of xorb {xorb}.")
            start, end = int(ends[first]), int(ends[last])
            if end - start != size:
                raise bad_request(f"A segment of xorb {xorb} has not the announced {size} bytes.")
            if parts and parts[-1].path == path and parts[-1].end == start:
                parts[-1] = parts[-1]._replace(end=end)
            else:
                parts.append(Part(path, start, end))
        return parts
