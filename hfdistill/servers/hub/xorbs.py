"""Xorbs as they are kept, and the files made of them.

Xorbs are kept unpacked. A file that a shard names is nothing but ranges of xorbs: it is read once to verify its
sha256, and served from there, so downloads are plain HTTP whichever way it came.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from .blobs import MAX_SIZE, BlobStore, check_size
from .contents import Part
from .direct_files import Incoming, disk_errors, make_folders
from .errors import HubError, bad_request
from .xet import FileRecipe, XorbRecipe, read_shard
from .xet_hashes import HASH, ChunkTree, chunk_hash, file_hash, hash_text, segment_hash, xorb_hash


STORE = re.compile(r"[0-9a-f]{32}")
XORB = re.compile(r"[0-9a-f]{64}")
# Files whose parts are smaller than this on average are copied.
SCATTERED = 1024 * 1024
# What the largest file needs, with chunks of the protocol's mean size, and the files of the longest shard. Each costs
# some microseconds and 80 bytes.
MAX_FILE_CHUNKS, MAX_SHARD_CHUNKS = 2**20, 2**22
# Bytes that a file, and that all files of a shard, may have beyond the xorbs that they name: what is the same again
# costs its sender nothing, and the Hub a reading.
MAX_REPEATED, MAX_SHARED = 4 * 1000**3, MAX_SIZE
# Indexes that a shard keeps in memory, at most 400 KB each.
KNOWN = 32


class Index(NamedTuple):
    """Where each chunk of a kept xorb ends, with a 0 before the first, and the hashes of the chunks, `(chunks, 4)`."""

    path: Path
    ends: np.ndarray
    hashes: np.ndarray


def read_index(xorb: Path) -> Index:
    """The index at the end of a kept xorb.

    Raises:
        `ValueError`: The file is damaged.
    """
    with open(xorb, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 4, 0))
        count = int.from_bytes(file.read(4), "little")
        start = size - 4 - (4 + HASH.itemsize) * count
        if start > 0:
            file.seek(start)
            ends = np.concatenate([[0], np.frombuffer(file.read(4 * count), "<u4").astype(np.int64)])
            if ends[-1] == start and (np.diff(ends) > 0).all():
                return Index(xorb, ends, np.frombuffer(file.read(HASH.itemsize * count), HASH))
    raise ValueError(f"{xorb} does not end with an index")


def is_sound(xorb: Path) -> bool:
    """Whether the chunks of a kept xorb have their hashes, and these the xorb's, which is its name."""
    try:
        index = read_index(xorb)
    except ValueError:
        return False
    with open(xorb, "rb") as file:
        chunks = (file.read(size) for size in np.diff(index.ends).tolist())
        right = all(chunk_hash(chunk) == hashed.tobytes() for chunk, hashed in zip(chunks, index.hashes, strict=True))
    return right and hash_text(xorb_hash(index.hashes, np.diff(index.ends))) == xorb.name


class XorbStore:
    """Stores of xorbs, one a user: nobody can read, spoil or build on what somebody else has sent.

    Clients remember by a store's address which chunks they have sent there, and refer to them again. Whenever xorbs
    may be gone, because old ones were collected or the machine crashed before they reached the disk, a user gets
    another store, and so another address, where clients know nothing yet. Uploads under way to the old one go on.

    Args:
        folder (`Path`):
            One folder a store in it.
        blobs (`BlobStore`):
            Where the files made of them go.
    """

    def __init__(self, folder: Path, blobs: BlobStore):
        self.folder = folder
        self.blobs = blobs
        self.database = blobs.database
        make_folders(folder)

    def current(self, user: str) -> str:
        """The id of the user's store."""
        key = f"store:{user}"
        with self.database.write() as write:
            store = self.database.meta(key)
            if store is None or not (self.folder / store).is_dir():
                store = secrets.token_hex(16)
                make_folders(self.folder / store)
                write.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, store))
        return store

    def current_stores(self) -> set[str]:
        return {row["value"] for row in self.database.rows("SELECT value FROM meta WHERE key GLOB 'store:*'")}

    def end(self, store: str | None = None) -> None:
        """Lets the user of a store begin another one; without a store, all users."""
        with self.database.write() as write:
            write.execute("DELETE FROM meta WHERE key GLOB 'store:*' AND value = IFNULL(?, value)", (store,))

    def path(self, store: str, xorb: str) -> Path:
        # Both come from requests: nothing but digits may become a path.
        if not STORE.fullmatch(store) or not XORB.fullmatch(xorb):
            raise bad_request("Malformed store or xorb hash.")
        if not (self.folder / store).is_dir():
            raise HubError(404, f"There is no store '{store}'.")
        return self.folder / store / xorb[:2] / xorb

    def keep(self, store: str, xorb: str, incoming: Incoming) -> bool:
        """Moves an unpacked xorb, whose hash was verified, to its place; returns whether it is new.

        One that is there already stays, unless it is damaged.
        """
        target = self.path(store, xorb)
        incoming.close()
        if target.exists() and is_sound(target):
            os.utime(target)
            return False
        # No collection can remove the store meanwhile.
        with disk_errors(), self.database.write():
            target = self.path(store, xorb)
            make_folders(target.parent)
            os.rename(incoming.path, target)
        return True

    def take_shard(self, store: str, shard: BinaryIO, user: str) -> None:
        """Keeps the files that a shard describes.

        Raises:
            [`HubError`]: 400 where it is malformed, names a xorb or chunk that the store does not have, or a hash
                differs; 413 where a file is too large or too much of it is the same.
        """
        index = lru_cache(KNOWN)(partial(self._index, store))
        named: set[str] = set()
        room, chunks = MAX_SHARED, 0
        try:
            for recipe in read_shard(shard):
                if isinstance(recipe, XorbRecipe):
                    _check_xorb(index(recipe.hash), recipe)
                    continue
                chunks += recipe.chunks
                if chunks > MAX_SHARD_CHUNKS:
                    raise HubError(413, f"The files of a push may have {MAX_SHARD_CHUNKS} chunks at most: push fewer.")
                xorbs = _verify(recipe, index)
                room += sum(size for xorb, size in xorbs.items() if xorb not in named) - recipe.size
                named |= xorbs.keys()
                if room < 0:
                    raise HubError(413, f"The files of a push may share {MAX_SHARED} bytes at most: push fewer.")
                self._make_file(recipe, index, user)
        except HubError:
            # What the client believes to have sent there and what is there may differ: at another address it sends
            # everything again.
            self.end(store)
            raise

    def _make_file(self, recipe: FileRecipe, index: Callable[[str], Index], user: str) -> None:
        runs = _joined(recipe.segments)
        try:
            if recipe.size <= SCATTERED * len(runs):
                # Small pieces would be slow to serve, and keep much alive that nobody reads.
                self.blobs.check_space(recipe.size)
                with self.blobs.receive() as incoming:
                    for part in _parts(runs, index):
                        _copy(part, incoming)
                    self.blobs.keep(incoming, recipe.sha256, user)
            else:
                self.blobs.put_together(recipe.sha256, tuple(_parts(runs, index)), user)
        except FileNotFoundError as error:
            raise bad_request("The xorbs that the shard names were collected meanwhile: push again.") from error

    def _index(self, store: str, xorb: str) -> Index:
        path = self.path(store, xorb)
        try:
            os.utime(path)
            return read_index(path)
        except (FileNotFoundError, ValueError) as error:
            raise bad_request(f"Your store has no xorb {xorb}, which the shard names: push again.") from error


def _copy(part: Part, incoming: Incoming) -> None:
    """Brings in a short range of a file through the page cache, which then has it for the next one."""
    with open(part.path, "rb", buffering=0) as file:
        file.seek(part.start)
        left = part.end - part.start
        while left:
            count = file.readinto(incoming.room()[:left])
            if not count:
                raise bad_request("A xorb that the shard names is damaged: push again.")
            incoming.advance(count)
            left -= count


def _check_xorb(index: Index, recipe: XorbRecipe) -> None:
    """Compares what a shard says of a xorb with the xorb."""
    chunks = recipe.chunks
    if not np.array_equal(chunks["hash"], index.hashes) or not np.array_equal(chunks["size"], np.diff(index.ends)):
        raise bad_request(f"The chunks of xorb {recipe.hash} are not those that the shard lists.")


def _verify(recipe: FileRecipe, index: Callable[[str], Index]) -> dict[str, int]:
    """Compares what a shard says of a file with the xorbs that hold it; returns their sizes.

    Raises:
        [`HubError`]: 400, a hash or a size is not what the recipe says; 413, the file is too large.
    """
    check_size(recipe.size)
    segments = recipe.segments
    if (segments["end"] <= segments["start"]).any():
        raise bad_request("The shard names a run of chunks that ends before it starts.")
    if recipe.chunks > MAX_FILE_CHUNKS:
        raise HubError(413, f"A file may consist of at most {MAX_FILE_CHUNKS} chunks.")
    xorbs: dict[str, int] = {}
    tree = ChunkTree()
    for (words, _, size, first, last), hashed in zip(map(np.void.item, segments), recipe.segment_hashes, strict=True):
        xorb = hash_text(words)
        _, ends, xorb_hashes = index(xorb)
        xorbs[xorb] = int(ends[-1])
        if last >= len(ends):
            raise bad_request(f"The shard names unknown chunks of xorb {xorb}.")
        if ends[last] - ends[first] != size or segment_hash(xorb_hashes[first:last]) != hashed.tobytes():
            raise bad_request(f"A segment of xorb {xorb} has not the size or the chunks that the shard says.")
        tree.add(xorb_hashes[first:last], np.diff(ends[first : last + 1]))
    if recipe.size > sum(xorbs.values()) + MAX_REPEATED:
        raise HubError(413, f"A file may repeat at most {MAX_REPEATED} bytes of itself: send it as LFS.")
    if file_hash(tree) != recipe.hash:
        raise bad_request(f"The chunks of the file of sha256 {recipe.sha256} do not have the file's hash.")
    return xorbs


def _joined(segments: np.ndarray) -> np.ndarray:
    """A file's segments, those that follow each other in a xorb as one."""
    before, after = segments[:-1], segments[1:]
    cuts = (before["xorb"] != after["xorb"]) | (before["end"] != after["start"])
    joined = segments[np.append(True, cuts)[: len(segments)]]
    joined["end"] = segments["end"][np.append(cuts, True)[: len(segments)]]
    return joined


def _parts(runs: np.ndarray, index: Callable[[str], Index]) -> Iterator[Part]:
    for words, _, _, first, last in map(np.void.item, runs):
        path, ends, _ = index(hash_text(words))
        yield Part(path, int(ends[first]), int(ends[last]))
