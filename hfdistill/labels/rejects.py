"""Rows that could not be used, kept apart in a file, and what the exit status says of them."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson


SHOWN = 5
REJECTIONS = {
    "invalid_utf8": "the line is not UTF-8",
    "not_json": "the line is not JSON",
    "not_an_object": "the line is JSON, but no object",
    "no_response": "the row has no response",
    "response_not_text": "the response is not text",
    "no_question": "the row has neither question_id nor question",
    "unknown_question": "the task has no such question",
    "no_options": "the row has no options, which the task needs",
    "bad_temperature": "the temperature is no number from 0 up",
    "bad_confidence": "the confidence is neither 'high' nor 'low'",
    "bad_integer": "a column of whole numbers holds something else",
    "mixed_voters": "other rows of the question say which of them vote, this one does not",
}


class RejectedRow(NamedTuple):
    """A row kept apart: its number from 1, the reason (a key of `REJECTIONS`), and what it held."""

    row: int
    reason: str
    detail: str
    content: Any


class RejectsFile:
    """A file of rejected rows, JSON lines with `row`, `reason`, `detail` and `content`; it exists only if there are
    any.

    Args:
        file (`Path`): where; a file of an earlier call is removed.
    """

    def __init__(self, file: Path):
        self.file = file
        self.reasons: Counter[str] = Counter()
        self._first: dict[str, list[int]] = {}
        self._output: BinaryIO | None = None

    def __enter__(self) -> "RejectsFile":
        self.file.unlink(missing_ok=True)
        return self

    def __exit__(self, *error) -> None:
        if self._output is not None:
            self._output.close()

    @property
    def count(self) -> int:
        """Rows rejected so far."""
        return self.reasons.total()

    def add(self, row: RejectedRow) -> None:
        """Keeps one row apart."""
        if self._output is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._output = self.file.open("wb")
        self._output.write(orjson.dumps(row._asdict(), default=str) + b"\n")
        self.reasons[row.reason] += 1
        first = self._first.setdefault(row.reason, [])
        if len(first) < SHOWN:
            first.append(row.row)

    def report(self) -> int:
        """Says on stderr what was rejected; returns the exit status, 1 if anything was."""
        if not self.count:
            return 0
        self._output.flush()
        print(f"{self.count:,} rows were rejected, see {self.file}", file=sys.stderr)
        for reason, count in self.reasons.most_common():
            rows = ", ".join(map(str, self._first[reason])) + (", …" if count > SHOWN else "")
            print(f"  {reason}: {count:,} ({REJECTIONS[reason]}), row {rows}", file=sys.stderr)
        return 1
