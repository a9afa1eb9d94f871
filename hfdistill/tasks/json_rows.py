"""Rows of JSON as it is written: an object a line, or over several lines, in arrays or one behind the other."""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from ..errors import HFDistillError


CHUNK = 1 << 20
# A line that is longer is no line: an array without line breaks.
LONGEST_LINE = 16 << 20
NOT_A_NUMBER = re.compile(r"\b(?:NaN|Infinity)\b")
SPACE = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()
# Characters at the end of a chunk that may be cut: of `-Infinity`, or of an escape.
CUT = 12


class BrokenRow(NamedTuple):
    """What holds no row: the reason (`invalid_utf8`, `not_json`, `not_an_object` or `too_many_cells`), a detail, and
    what stands there.
    """

    reason: str
    detail: str
    content: Any


Row = dict[str, Any] | BrokenRow


def json_rows(opened: Callable[[], AbstractContextManager[BinaryIO]], file: Path) -> Iterator[Row]:
    """Rows of a file in JSON, read as they are asked for; a broken line is a row of its own.

    Args:
        opened (`Callable`): opens the file's bytes, perhaps twice.
        file (`Path`): its name, for errors.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: for a fault in an array, behind which nothing can be read.
    """
    with opened() as stream:
        first = stream.readline(LONGEST_LINE)
        while first.isspace():
            first = stream.readline(LONGEST_LINE)
        start = first.lstrip()[:1]
        if start == b"[" or (start == b"{" and isinstance(_loaded(first), BrokenRow)):
            values = _Values(stream, first)
            if start == b"[" or values.begins_with_a_value():
                yield from map(_row, values.rows(file))
                return
        else:
            yield from _lines(chain([first], stream))
            return
    with opened() as stream:
        yield from _lines(stream)


def _lines(lines: Iterable[bytes]) -> Iterator[Row]:
    return (_row(_loaded(line)) for line in lines if line.strip())


def _row(value: Any) -> Row:
    if isinstance(value, dict | BrokenRow):
        return value
    return BrokenRow("not_an_object", f"a {type(value).__name__} stands there", value)


def _loaded(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        message = str(error)
    shown = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return BrokenRow("invalid_utf8", f"byte {error.start} is not UTF-8", shown)
    if NOT_A_NUMBER.search(text):  # which Python writes, and JSON does not know
        try:
            return json.loads(text)
        except ValueError as error:
            message = str(error)
    return BrokenRow("not_json", message, shown)


class _Values:
    """The values of a stream, with those of an array one by one: no more than one, or a chunk, is held."""

    def __init__(self, stream: BinaryIO, first: bytes):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._place = self._decoder.decode(first), 0

    def begins_with_a_value(self) -> bool:
        """Whether a whole value stands at the beginning, which stays unread."""
        try:
            self._value()
        except ValueError:
            return False
        self._place = 0
        return True

    def rows(self, file: Path) -> Iterator[Any]:
        """Every value outside of arrays, and every element of these."""
        count, within = 0, False
        try:
            while character := self._character():
                if character == "[" and not within:
                    self._place, within = self._place + 1, True
                elif character == "]" and within:
                    self._place, within = self._place + 1, False
                else:
                    yield self._value()
                    count += 1
                    if within and self._character() == ",":
                        self._place += 1
        except RecursionError as error:
            raise HFDistillError(f"{file} is nested too deep to be read, behind row {count}") from error
        except UnicodeDecodeError as error:
            raise HFDistillError(f"{file} is not UTF-8, behind row {count}") from error
        except json.JSONDecodeError as error:
            raise HFDistillError(f"{file} is not JSON, behind row {count}: {error.msg}") from error
        if within:
            raise HFDistillError(f"{file} ends within its array, behind row {count}: it was cut off")

    def _character(self) -> str:
        """The next one that is no white space; none at the end."""
        while True:
            self._place = SPACE.match(self._text, self._place).end()
            if self._place < len(self._text) or not self._more():
                return self._text[self._place : self._place + 1]

    def _value(self) -> Any:
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, SPACE.match(self._text, self._place).end())
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text.rstrip()) - CUT
                if cut and self._more():
                    continue
                raise
            # What ends with the chunk may be the beginning of a longer number.
            if end == len(self._text) and self._more():
                continue
            self._place = end
            return value

    def _more(self) -> bool:
        data = self._stream.read(max(CHUNK, len(self._text) - self._place))
        self._text = self._text[self._place :] + self._decoder.decode(data, final=not data)
        self._place = 0
        return bool(data)
