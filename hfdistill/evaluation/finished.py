"""Rows of an evaluation, kept as they finish."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ..training.shares import on_main_process


class FinishedRows:
    """Rows that were answered already, so that an interrupted evaluation asks nothing twice.

    Args:
        folder (`Path`): where the main process keeps them; the others, on this machine or another, hear of them.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def find_or_make(
        self, key: Sequence[Any], make: Callable[[], Sequence[Mapping[str, Any]]]
    ) -> Sequence[Mapping[str, Any]]:
        """The rows that were stored under a key, or else made and stored: the same on every process.

        Args:
            key (`Sequence`): everything that decides them, as plain JSON.
            make (`Callable`): makes them, called on every process or on none.
        """
        path = self.folder / (hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()[:24] + ".jsonl")
        rows = on_main_process(lambda: _read(path))
        if rows is None:
            rows = make()
            if PartialState().is_main_process:
                _write(path, rows)
        return rows


def _read(path: Path) -> list[dict[str, Any]] | None:
    if not path.is_file():
        return None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_suffix(".incoming")
    incoming.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    incoming.replace(path)
