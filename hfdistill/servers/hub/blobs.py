"""Content-addressed files: one copy of each content, whoever owns it and however it came."""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .database import Database, now
from .errors import HubError, bad_request


# Contents up to this size live in the database: a commit of 10,000 small files is then one transaction, not 10,000
# files to create and flush.
SMALL = 64 * 1024
# Clients refuse plain-HTTP downloads above 50 GB, so nothing larger could be read back.
MAX_SIZE = 50 * 1000**3
# Free space that uploads may not eat: the database must still be able to write.
RESERVE = 64 * 1024**2
WRITE_BEHIND = 8 * 1024**2

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


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turns a full disk into 507, which clients do not take for a passing fault and retry."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise HubError(507, "The Hub's disk is full.") from error
        raise


@dataclass(frozen=True)
class Blob:
    """A content ready to be read: either its bytes or its file."""

    size: int
    data: bytes | None
    path: Path | None

    def read(self, limit: int | None = None) -> bytes:
        if self.data is not None:
            return self.data if limit is None else self.data[:limit]
        with open(self.path, "rb") as file:
            return file.read(-1 if limit is None else limit)


class Incoming:
    """A file being received: hashed while written, then moved to its place or thrown away.

    Args:
        path (`Path`):
            Where to write.
        checked (`bool`, *optional*, defaults to `True`):
            Whether it is hashed, and flushed to disk at the end.
    """

    def __init__(self, path: Path, checked: bool = True):
        self.path = path
        self.size = 0
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by close or discard
        self._hash = hashlib.sha256() if checked else None
        self._handed_over = 0

    def write(self, data: bytes | memoryview) -> None:
        if self._hash:
            self._hash.update(data)
        view = memoryview(data)
        with disk_errors():
            while view:
                view = view[self._file.write(view) :]
        self.size += len(data)
        if self._hash and self.size - self._handed_over >= WRITE_BEHIND:
            # Lets the kernel begin to write to disk now, so that little is left to wait for at the end.
            os.posix_fadvise(self._file.fileno(), self._handed_over, WRITE_BEHIND, os.POSIX_FADV_DONTNEED)
            self._handed_over = self.size

    def close(self) -> str | None:
        """Returns the sha256 once the file is safe on disk; `None` for one that is not checked."""
        if self._hash:
            with disk_errors():
                os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest() if self._hash else None

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """Blobs under `folder/sha256/aa/bb/…`, small ones in the database.

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
            return Blob(path.stat().st_size, None, path)
        except FileNotFoundError:
            pass
        row = self.database.row("SELECT data FROM small_blobs WHERE sha256 = ?", sha256)
        return Blob(len(row["data"]), row["data"], None) if row else None

    def touch(self, sha256: str) -> None:
        """Marks a blob as wanted, so that a collection running now leaves it for the commit that is coming."""
        path = self.path(sha256)
        if path.exists():
            os.utime(path)

    def check_space(self, size: int) -> None:
        if size > shutil.disk_usage(self.folder).free - RESERVE:
            raise HubError(507, f"No room on the Hub's disk for {size} bytes.")

    @contextmanager
    def receive(self, checked: bool = True) -> Iterator[Incoming]:
        """A temporary file to write to; it vanishes unless [`keep`] took it."""
        with disk_errors():
            incoming = Incoming(self.temporary / secrets.token_hex(16), checked)
        try:
            yield incoming
        finally:
            incoming.discard()

    def keep(self, incoming: Incoming, sha256: str, user: str) -> None:
        """Moves a received file to its place once its hash is what was announced."""
        actual = incoming.close()
        if actual != sha256:
            raise bad_request(f"The content's sha256 is {actual}, announced was {sha256}.")
        target = self.path(sha256)
        with disk_errors():
            if target.exists():
                os.utime(target)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(incoming.path, target)
                sync_folder(target.parent)
        self.record_upload(sha256, user)

    def put(self, data: bytes, user: str) -> str:
        """Stores bytes too long for the database; returns the sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self.receive() as incoming:
            incoming.write(data)
            self.keep(incoming, sha256, user)
        return sha256

    def record_upload(self, sha256: str, user: str) -> None:
        with self.database.write() as write:
            write.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", (sha256, user, now()))

    def clear_temporary(self) -> None:
        """Removes what a killed server left half received; only a server that starts may do it."""
        for path in self.temporary.iterdir():
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
