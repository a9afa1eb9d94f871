"""Content-addressed files: one copy of each content, whoever owns it and however it came."""

import hashlib
import json
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .contents import Blob, Part
from .database import Database, now
from .direct_files import Incoming, disk_errors, make_folders, put, sync
from .errors import HubError, bad_request


# Contents up to this size live in the database: a commit of 10,000 small files is then one transaction, not 10,000
# files to create and flush.
SMALL = 64 * 1024
# Clients refuse plain-HTTP downloads above 50 GB, so nothing larger could be read back.
MAX_SIZE = 50 * 1000**3
# Free space that uploads may not eat: the database must still be able to write.
RESERVE = 64 * 1024**2

# Files or folders that are flushed at once.
SYNCS = 16

SHA256 = re.compile(r"[0-9a-f]{64}")


def sync_all(paths: Iterable[Path]) -> None:
    """Flushes files or folders side by side, so that the file system writes its journal once for many."""
    with ThreadPoolExecutor(SYNCS) as pool:
        list(pool.map(sync, paths))


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer_text(sha256: str, size: int) -> bytes:
    """The text file that git would keep in the place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def check_size(size: object) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise bad_request(f"Invalid size {size!r}: a non-negative integer is needed.")
    if size > MAX_SIZE:
        raise HubError(413, f"A file of {size} bytes is over this Hub's limit of {MAX_SIZE}.")
    return size


def check_sha256(value: object) -> str:
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise bad_request(f"Invalid oid {value!r}: 64 lower-case hexadecimal digits are needed.")
    return value


def sha256_of(blob: Blob) -> str:
    digest = hashlib.sha256()
    for piece in blob.pieces():
        digest.update(piece)
    return digest.hexdigest()


def wrong_sha256(announced: str) -> HubError:
    return bad_request(f"The content does not have the announced sha256 {announced}.")


class Received(NamedTuple):
    """A content that has come in, and what brings it to its path."""

    size: int
    place: Callable[[Path], None]


class BlobStore:
    """Blobs under `folder/sha256/aa/bb/…`, small ones in the database.

    A blob is a file, named by its sha256, or was put together from parts of other files: then `<sha256>.parts` lists
    them, and `<sha256>.0`, `<sha256>.1`, … are links to those files, so that it does not depend on their first names.

    Args:
        folder (`Path`):
            Where the files are kept; `tmp` beside them takes what is on its way.
        database (`Database`):
            Keeps the small ones.
    """

    def __init__(self, folder: Path, database: Database):
        self.folder = folder / "sha256"
        self.temporary = folder / "tmp"
        self.database = database
        make_folders(self.folder)
        make_folders(self.temporary)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256[2:4] / sha256

    def find(self, sha256: str) -> Blob | None:
        """The content as it is kept; `None` if there is none.

        Raises:
            [`HubError`]: 500, the list of its parts is damaged.
        """
        path = self.path(sha256)
        try:
            size = path.stat().st_size
            return Blob(size, None, (Part(path, 0, size),))
        except FileNotFoundError:
            pass
        row = self.database.row("SELECT data FROM small_blobs WHERE sha256 = ?", sha256)
        if row:
            return Blob(len(row["data"]), row["data"])
        try:
            listed = json.loads(path.with_suffix(".parts").read_bytes())
            parts = tuple(Part(path.with_suffix(f".{number:d}"), start, end) for number, start, end in listed)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise HubError(500, f"The list of the parts of content {sha256} is damaged.") from error
        return Blob(sum(part.end - part.start for part in parts), None, parts)

    def damage(self, sha256: str, size: int | None = None, read: bool = True) -> str | None:
        """What is wrong with a content as it is kept, in one sentence; `None` if nothing is.

        Args:
            size (`int`, *optional*):
                What it should have.
            read (`bool`, *optional*, defaults to `True`):
                Whether to hash it, too.
        """
        try:
            blob = self.find(sha256)
        except HubError as error:
            return error.message.removesuffix(".")
        if blob is None:
            return f"content {sha256} is missing"
        if size not in (None, blob.size):
            return f"content {sha256} has {blob.size} bytes instead of {size}"
        if any(not part.path.exists() or part.path.stat().st_size < part.end for part in blob.parts):
            return f"a part of content {sha256} is missing or cut short"
        try:
            if read and (actual := sha256_of(blob)) != sha256:
                return f"content {sha256} is damaged: its sha256 is {actual}"
        except (OSError, EOFError) as error:
            return f"content {sha256} cannot be read: {error}"
        return None

    def touch(self, sha256: str) -> bool:
        """Marks a blob as wanted, so that a collection running now leaves it for the commit that is coming.

        Returns:
            `bool`: whether there are files of it.
        """
        path = self.path(sha256)
        for marked in (path, path.with_suffix(".parts")):
            if marked.exists():
                os.utime(marked)
                return True
        return False

    def check_space(self, size: int) -> None:
        if size > shutil.disk_usage(self.folder).free - RESERVE:
            raise HubError(507, f"No room on the Hub's disk for {size} bytes.")

    @contextmanager
    def receive(self, hashed: bool = True) -> Iterator[Incoming]:
        """A temporary file to write to; it vanishes unless [`keep`] took it."""
        with disk_errors():
            incoming = Incoming(self.temporary / secrets.token_hex(16), hashed)
        try:
            yield incoming
        finally:
            incoming.discard()

    def keep(self, incoming: Incoming, sha256: str, user: str) -> None:
        """Moves a received file to its place once its hash is what was announced."""
        if incoming.close() != sha256:
            raise wrong_sha256(sha256)
        self._place({sha256: Received(incoming.size, partial(os.rename, incoming.path))}, user)

    def put_together(self, sha256: str, parts: tuple[Part, ...], user: str) -> None:
        """Keeps a content as parts of files that stay where they are.

        They are linked first and hashed by these links, so that what was hashed is what stays.
        """
        numbers = {path: number for number, path in enumerate(dict.fromkeys(part.path for part in parts))}
        links = [self.temporary / secrets.token_hex(16) for _ in numbers]
        with disk_errors(), self.receive() as incoming:
            try:
                for path, link in zip(numbers, links, strict=True):
                    os.link(path, link)
                linked = tuple(part._replace(path=links[numbers[part.path]]) for part in parts)
                size = sum(part.end - part.start for part in parts)
                if sha256_of(Blob(size, None, linked)) != sha256:
                    raise wrong_sha256(sha256)
                listed = [(numbers[part.path], part.start, part.end) for part in parts]
                put(json.dumps(listed).encode(), incoming)
                incoming.close()
                for link in links:
                    sync(link)

                def place(target: Path) -> None:
                    for number, link in enumerate(links):
                        os.rename(link, target.with_suffix(f".{number}"))
                    sync(target.parent)
                    os.rename(incoming.path, target.with_suffix(".parts"))

                self._place({sha256: Received(size, place)}, user)
            finally:
                for link in links:
                    link.unlink(missing_ok=True)

    def _place(self, received: dict[str, Received], user: str) -> None:
        """Brings verified files to their place, and notes who sent them.

        What is there already stays, unless it is damaged. A write transaction keeps collections away until all is
        done; a kill in the middle leaves files that belong to no blob.
        """
        sound = {name for name, new in received.items() if self.touch(name) and self.damage(name, new.size) is None}
        with disk_errors(), self.database.write() as write:
            folders = set()
            for sha256, new in received.items():
                if sha256 in sound and self.touch(sha256):
                    continue
                target = self.path(sha256)
                make_folders(target.parent)
                for old in target.parent.glob(f"{sha256}*"):
                    old.unlink()
                new.place(target)
                folders.add(target.parent)
            sync_all(folders)
            write.executemany(
                "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", ((sha256, user, now()) for sha256 in received)
            )

    def put_small(self, write: sqlite3.Connection, contents: dict[str, bytes]) -> None:
        """Stores bytes short enough for the database, by their sha256; damaged ones are replaced."""
        write.executemany(
            "INSERT INTO small_blobs VALUES (?, ?) ON CONFLICT DO UPDATE SET data = excluded.data "
            "WHERE data IS NOT excluded.data",
            contents.items(),
        )

    def put(self, data: bytes, user: str) -> str:
        """Stores bytes too long for the database; returns the sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.put_all({sha256: data}, user)
        return sha256

    def put_all(self, contents: dict[str, bytes], user: str) -> None:
        """Stores contents too long for the database, by their sha256; many cost the disk little more than one."""
        paths = {sha256: self.temporary / secrets.token_hex(16) for sha256 in contents}
        try:
            with disk_errors():
                for sha256, path in paths.items():
                    path.touch(0o600)
                    path.write_bytes(contents[sha256])
                sync_all(paths.values())
            self._place(
                {name: Received(len(contents[name]), partial(os.rename, path)) for name, path in paths.items()}, user
            )
        finally:
            for path in paths.values():
                path.unlink(missing_ok=True)

    def clear_temporary(self) -> None:
        """Removes what a killed server left half received; only a server that starts may do it."""
        for path in self.temporary.iterdir():
            path.unlink(missing_ok=True)
