"""Large files past the page cache: no copy of what is not read again soon, and no memory taken from whoever trains on
the same machine.
"""

import errno
import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from .errors import disk_refusal


PIECE = 512 * 1024
# Of an upload, while others of its pieces are hashed and written.
BUFFERS = 4
# What the kernel wants positions, lengths and addresses of direct reads and writes to be a multiple of.
ALIGNMENT = 4096


def open_direct(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_DIRECT, 0o600)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags, 0o600)  # a file system that knows only the page cache


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turns a full disk into 507, which clients do not take for a passing fault and retry."""
    try:
        yield
    except OSError as error:
        if refusal := disk_refusal(error):
            raise refusal from error
        raise


class Receiver(Protocol):
    """Takes bytes in place: whoever has some puts them into [`room`] and then says how many."""

    def room(self) -> memoryview: ...

    def advance(self, count: int) -> None: ...


def put(data: bytes | memoryview, receiver: Receiver) -> None:
    view = memoryview(data)
    while view:
        room = receiver.room()[: len(view)]
        room[:] = view[: len(room)]
        receiver.advance(len(room))
        view = view[len(room) :]


class Incoming:
    """A file being received: while a piece comes in, a thread hashes those before it, and another one writes them.

    Args:
        path (`Path`):
            Where to write.
        hashed (`bool`, *optional*, defaults to `True`):
            Whether its sha256 is wanted, and the file flushed at the end.
    """

    def __init__(self, path: Path, hashed: bool = True):
        self.path = path
        self.size = 0
        self._file = open_direct(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._hash = hashlib.sha256() if hashed else None
        self._hasher, self._writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._buffers = [memoryview(mmap.mmap(-1, PIECE)) for _ in range(BUFFERS)]
        self._filled = 0
        self._working: list[list[Future]] = []

    def room(self) -> memoryview:
        return self._buffers[0][self._filled :]

    def advance(self, count: int) -> None:
        self.size += count
        self._filled += count
        if self._filled == PIECE:
            work = [self._writer.submit(_write, self._file, self._buffers[0])]
            if self._hash:
                work.append(self._hasher.submit(self._hash.update, self._buffers[0]))
            self._working.append(work)
            self._buffers.append(self._buffers.pop(0))
            self._filled = 0
            self._finish_work(BUFFERS - 1)

    def _finish_work(self, left: int) -> None:
        """Waits until all buffers but `left` are free."""
        with disk_errors():
            while len(self._working) > left:
                for work in self._working.pop(0):
                    work.result()

    def close(self) -> str | None:
        """Returns the sha256 once the file is safe on disk; `None` for one that is not hashed."""
        self._finish_work(0)
        rest = self._buffers[0][: self._filled]
        if self._hash:
            self._hash.update(rest)
        # The end is no multiple of what a direct write takes.
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        with disk_errors():
            _write(self._file, rest)
            if self._hash:
                os.fsync(self._file)
        self._close()
        return self._hash.hexdigest() if self._hash else None

    def discard(self) -> None:
        self._hasher.shutdown()
        self._writer.shutdown()
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _write(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]


def make_folders(path: Path) -> None:
    """Makes a folder and those above it where there are none, for nobody but their owner."""
    if not path.is_dir():
        make_folders(path.parent)
        path.mkdir(0o700, exist_ok=True)


def sync(path: Path) -> None:
    """Flushes a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
