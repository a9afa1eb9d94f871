"""Rows that could not be used, kept apart in a file, and what the exit status says of them."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple


SHOWN = 5
REJECTIONS = {
    "invalid_utf8": "the line is not UTF-8",
    "not_json": "the line is not JSON",
    "not_an_object": "what stands there is no object",
    "too_many_cells": "the row has more cells than the first line has names",
    "no_response": "the row has no response",
    "response_not_text": "the response is not text",
    "list_in_text": "the response is a list of texts, written as one text",
    "request_failed": "the request was not answered",
    "no_request": "the requests have no such custom_id",
    "no_question": "the row has neither question_id nor question",
    "several_turns": "the row is a conversation about more than one question",
    "unknown_question": "the task has no such question",
    "several_questions": "more than one question has this text, and neither id nor options tell which",
    "repeated_id": "another question has this id",
    "no_options": "the row has no options, which the task needs",
    "bad_split": "the split is neither train, validation nor test",
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
        self._details: dict[str, str] = {}
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
        line = json.dumps(row._asdict(), default=str, ensure_ascii=False)
        self._output.write(line.encode("utf-8", "backslashreplace") + b"\n")
        self.reasons[row.reason] += 1
        self._details.setdefault(row.reason, " ".join(row.detail.split()))
        first = self._first.setdefault(row.reason, [])
        if len(first) < SHOWN and row.row not in first:
            first.append(row.row)

    def report(self) -> int:
        """Says on stderr what was rejected; returns the exit status, 1 if anything was."""
        if not self.count:
            return 0
        self._output.flush()
        print(f"{self.count:,} rows were rejected, see {self.file}", file=sys.stderr)
        for reason, count in self.reasons.most_common():
            rows = ", ".join(map(str, self._first[reason])) + (", …" if count > len(self._first[reason]) else "")
            detail = self._details[reason]
            print(f"  {reason}: {count:,} ({REJECTIONS[reason]}), row {rows}: {detail}", file=sys.stderr)
        return 1
