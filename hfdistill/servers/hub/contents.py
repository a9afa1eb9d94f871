"""Contents ready to be read: bytes, a file, or ranges of several files one after the other."""

import io
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .direct_files import ALIGNMENT, open_direct


PIECE = 2 * 1024**2


class Part(NamedTuple):
    """The bytes of a file from `start` to `end` (excluded)."""

    path: Path
    start: int
    end: int


@dataclass(frozen=True)
class Blob:
    """A content: either its bytes, or the parts of files that make it up."""

    size: int
    data: bytes | None
    parts: tuple[Part, ...] = ()

    def between(self, start: int, end: int) -> Iterator[Part]:
        """The parts of files that hold the content from `start` to `end`."""
        for part in self.parts:
            length = part.end - part.start
            if start < length and end > 0:
                yield Part(part.path, part.start + max(start, 0), part.start + min(end, length))
            start, end = start - length, end - length

    def read(self, limit: int | None = None) -> bytes:
        with self.open() as file:
            return file.read(limit)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data) if self.data is not None else io.BufferedReader(_Joined(self), PIECE // 8)

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The whole content, two megabytes at a time; each piece is gone when the next one comes.

        Files are read past the page cache, and one piece ahead: whoever hashes need not wait for the disk.
        """
        if self.data is not None:
            yield self.data
            return
        pieces = (piece for part in self.parts for piece in _read_direct(part))
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(next, pieces, None)
            while (piece := coming.result()) is not None:
                coming = reader.submit(next, pieces, None)
                yield piece


def _read_direct(part: Part) -> Iterator[memoryview]:
    buffers = [memoryview(mmap.mmap(-1, PIECE)) for _ in range(2)]
    descriptor = open_direct(part.path, os.O_RDONLY)
    try:
        position = part.start - part.start % ALIGNMENT
        while position < part.end:
            buffers.reverse()
            # No more than is wanted: a content may be many short ranges of a long file.
            wanted = part.end - position + ALIGNMENT - (part.end - position) % ALIGNMENT
            count = os.preadv(descriptor, [buffers[0][:wanted]], position)
            if count == 0:
                raise EOFError(f"{part.path} ends before {part.end}")
            yield buffers[0][max(part.start - position, 0) : min(part.end - position, count)]
            position += count
    finally:
        os.close(descriptor)


class _Joined(io.RawIOBase):
    """A content of several parts as one file."""

    def __init__(self, blob: Blob):
        self._blob = blob
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._blob.size}[whence]
        return self._position

    def readinto(self, buffer) -> int:
        part = next(self._blob.between(self._position, self._position + len(buffer)), None)
        if part is None:
            return 0
        with open(part.path, "rb", buffering=0) as file:
            file.seek(part.start)
            count = file.readinto(memoryview(buffer)[: part.end - part.start])
        self._position += count
        return count
