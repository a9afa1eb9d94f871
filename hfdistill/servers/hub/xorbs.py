"""Xorbs as they are kept, and the files made of them.

Xorbs are kept unpacked. A file that a shard names is nothing but ranges of xorbs: it is read once to verify its
sha256, and served from there, so downloads are plain HTTP whichever way it came.
"""

import os
import re
import secrets
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from .blobs import BlobStore, check_size
from .contents import Blob, Part
from .direct_files import Incoming, disk_errors, make_folders, put
from .errors import HubError, bad_request
from .xet import FileRecipe, XorbRecipe, read_shard
from .xet_hashes import HASH, chunk_hash, file_hash, hash_text, segment_hash, xorb_hash


STORE = re.compile(r"[0-9a-f]{32}")
XORB = re.compile(r"[0-9a-f]{64}")
# Files whose parts are smaller than this on average are copied.
SCATTERED = 1024 * 1024
# What the largest file needs, with chunks of the protocol's mean size. Each costs about a microsecond and 50 bytes.
MAX_FILE_CHUNKS = 2**20
# Indexes in memory at once, at most 360 KB each.
KNOWN = 64


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
                differs; 413 where a file is too large.
        """
        try:
            for recipe in read_shard(shard):
                if isinstance(recipe, FileRecipe):
                    self._make_file(store, recipe, user)
                else:
                    self._check_xorb(store, recipe)
        except HubError:
            # What the client believes to have sent there and what is there may differ: at another address it sends
            # everything again.
            self.end(store)
            raise

    def _check_xorb(self, store: str, recipe: XorbRecipe) -> None:
        """Compares what a shard says of a xorb with the xorb."""
        index = self._index(store, recipe.hash)
        chunks = recipe.chunks
        if not np.array_equal(chunks["hash"], index.hashes) or not np.array_equal(chunks["size"], np.diff(index.ends)):
            raise bad_request(f"The chunks of xorb {recipe.hash} are not those that the shard lists.")

    def _make_file(self, store: str, recipe: FileRecipe, user: str) -> None:
        check_size(recipe.size)
        blob = Blob(recipe.size, None, tuple(self._parts(store, recipe)))
        try:
            if blob.size <= SCATTERED * len(blob.parts):
                # Small pieces would be slow to serve, and keep much alive that nobody reads.
                self.blobs.check_space(blob.size)
                with self.blobs.receive() as incoming:
                    for piece in blob.pieces():
                        put(piece, incoming)
                    self.blobs.keep(incoming, recipe.sha256, user)
            else:
                self.blobs.put_together(recipe.sha256, blob.parts, user)
        except FileNotFoundError as error:
            raise bad_request("The xorbs that the shard names were collected meanwhile: push again.") from error

    def _index(self, store: str, xorb: str) -> Index:
        path = self.path(store, xorb)
        try:
            os.utime(path)
            return read_index(path)
        except (FileNotFoundError, ValueError) as error:
            raise bad_request(f"Your store has no xorb {xorb}, which the shard names: push again.") from error

    def _parts(self, store: str, recipe: FileRecipe) -> list[Part]:
        """What a file consists of; neighbouring chunks are one part."""
        parts: list[Part] = []
        known: dict[str, Index] = {}
        hashes, sizes, count = [np.empty(0, HASH)], [np.empty(0, np.int64)], 0
        for (words, _, size, first, last), hashed in zip(
            map(np.void.item, recipe.segments), recipe.segment_hashes, strict=True
        ):
            xorb = hash_text(words)
            if xorb not in known:
                if len(known) == KNOWN:
                    known.clear()
                known[xorb] = self._index(store, xorb)
            index = known[xorb]
            if not first < last < len(index.ends):
                raise bad_request(f"The shard names unknown chunks of xorb {xorb}.")
            count += last - first
            if count > MAX_FILE_CHUNKS:
                raise HubError(413, f"A file may consist of at most {MAX_FILE_CHUNKS} chunks.")
            start, end = int(index.ends[first]), int(index.ends[last])
            if end - start != size or segment_hash(index.hashes[first:last]) != hashed.tobytes():
                raise bad_request(f"A segment of xorb {xorb} has not the size or the chunks that the shard says.")
            hashes.append(index.hashes[first:last])
            sizes.append(np.diff(index.ends[first : last + 1]))
            if parts and parts[-1].path == index.path and parts[-1].end == start:
                parts[-1] = parts[-1]._replace(end=end)
            else:
                parts.append(Part(index.path, start, end))
        if file_hash(np.concatenate(hashes), np.concatenate(sizes)) != recipe.hash:
            raise bad_request(f"The chunks of the file of sha256 {recipe.sha256} do not have the file's hash.")
        return parts
