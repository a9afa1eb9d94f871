"""Content-addressed files: one copy of each content, whoever owns it and however it came."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .contents import Blob, Part
from .database import Database, now
from .direct_files import Incoming, disk_errors, put, sync
from .errors import HubError, bad_request


# Contents up to this size live in the database: a commit of 10,000 small files is then one transaction, not 10,000
# files to create and flush.
SMALL = 64 * 1024
# Clients refuse plain-HTTP downloads above 50 GB, so nothing larger could be read back.
MAX_SIZE = 50 * 1000**3
# Free space that uploads may not eat: the database must still be able to write.
RESERVE = 64 * 1024**2

SHA256 = re.compile(r"[0-9a-f]{64}")


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


def wrong_sha256(actual: str, announced: str) -> HubError:
    return bad_request(f"The content's sha256 is {actual}, announced was {announced}.")


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
        self.folder.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256[2:4] / sha256

    def find(self, sha256: str) -> Blob | None:
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
        except FileNotFoundError:
            return None
        parts = tuple(Part(path.with_suffix(f".{number}"), start, end) for number, start, end in listed)
        return Blob(sum(part.end - part.start for part in parts), None, parts)

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
        actual = incoming.close()
        if actual != sha256:
            raise wrong_sha256(actual, sha256)
        target = self.path(sha256)
        with disk_errors():
            if not self.touch(sha256):
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(incoming.path, target)
                sync(target.parent)
        self.record_upload(sha256, user)

    def put_together(self, sha256: str, parts: tuple[Part, ...], user: str) -> None:
        """Keeps a content as parts of files that stay where they are. Its sha256 must have been verified.

        A write transaction keeps collections away until everything is in its place; a kill before that leaves links
        that belong to no blob.
        """
        target = self.path(sha256)
        with disk_errors(), self.database.write() as write, self.receive() as incoming:
            if not self.touch(sha256):
                target.parent.mkdir(parents=True, exist_ok=True)
                numbers: dict[Path, int] = {}
                for part in parts:
                    if part.path not in numbers:
                        numbers[part.path] = len(numbers)
                        link = target.with_suffix(f".{numbers[part.path]}")
                        link.unlink(missing_ok=True)
                        os.link(part.path, link)
                        sync(link)
                listed = [(numbers[part.path], part.start, part.end) for part in parts]
                put(json.dumps(listed).encode(), incoming)
                incoming.close()
                sync(target.parent)
                os.rename(incoming.path, target.with_suffix(".parts"))
                sync(target.parent)
            write.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", (sha256, user, now()))

    def put(self, data: bytes, user: str) -> str:
        """Stores bytes too long for the database; returns the sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self.receive() as incoming:
            put(data, incoming)
            self.keep(incoming, sha256, user)
        return sha256

    def record_upload(self, sha256: str, user: str) -> None:
        with self.database.write() as write:
            write.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", (sha256, user, now()))

    def clear_temporary(self) -> None:
        """Removes what a killed server left half received; only a server that starts may do it."""
        for path in self.temporary.iterdir():
            path.unlink(missing_ok=True)
