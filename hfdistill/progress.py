"""Progress of long work: a live bar on a terminal, JSON lines where there is none."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from rich.console import Group

SECONDS_BETWEEN_LINES = 1.0


class Progress:
    """Report how much of a stage is done and how long the rest will take.

    On a terminal it draws one `rich` bar, and the fields given to [`~Progress.update`] below it. Elsewhere it prints
    JSON lines, at most one a second and always the last: `{"progress": stage, "done": …, "total": …, "unit": …,
    "elapsed_s": …, "left_s": …}` plus these fields. That is how one process shows the progress of another.

    Args:
        stage (`str`): what is being done, for example `"label"`.
        total (`int`): how many units make the whole.
        unit (`str`): what is counted, for example `"responses"`.
        done (`int`, *optional*, defaults to 0): units found finished at the start; they do not count for the speed.
        enabled (`bool`, *optional*, defaults to `True`): whether to print at all (`False` on all but one process).
    """

    def __init__(self, stage: str, total: int, unit: str, done: int = 0, enabled: bool = True):
        self.stage, self.total, self.unit, self.done, self.enabled = stage, total, unit, done, enabled
        self.fields: dict[str, Any] = {}
        self._first = done
        self._started = time.monotonic()
        self._printed = 0.0
        self._live = None

    def __enter__(self) -> Progress:
        if self.enabled and sys.stdout.isatty():
            from rich.live import Live
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            self._task = self._bar.add_task(self.stage, total=self.total, completed=self.done, unit=self.unit)
            self._live = Live(get_renderable=self._picture, refresh_per_second=4)
            self._live.start()
        self._show(last=False)
        return self

    def __exit__(self, *error) -> None:
        self._show(last=True)
        if self._live is not None:
            self._live.stop()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at the speed so far, or `None` before anything was done."""
        fresh = self.done - self._first
        return None if fresh <= 0 else self.elapsed / fresh * max(self.total - self.done, 0)

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Count `n` more units; see [`~Progress.update`] for `fields`."""
        self.update(self.done + n, **fields)

    def update(self, done: int, **fields: Any) -> None:
        """Set the number of finished units, and figures worth showing beside them (they stay until replaced)."""
        self.done = done
        self.fields.update(fields)
        self._show(last=False)

    def _show(self, last: bool) -> None:
        if not self.enabled:
            return
        if self._live is not None:
            self._bar.update(self._task, completed=self.done, total=self.total)
            return
        now = time.monotonic()
        if not last and now - self._printed < SECONDS_BETWEEN_LINES:
            return
        self._printed = now
        left = self.left
        line = {
            "progress": self.stage,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "elapsed_s": round(self.elapsed, 1),
            "left_s": None if left is None else round(left, 1),
            **self.fields,
        }
        print(json.dumps(line), flush=True)

    def _picture(self) -> Group:
        from rich.columns import Columns
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        several = {name: items for name, items in self.fields.items() if isinstance(items, Mapping)}
        single = {name: value for name, value in self.fields.items() if name not in several}
        table = Table.grid(padding=(0, 2))
        for name, items in {"": single, **several}.items():
            if items:
                texts = [Text.assemble((_words(key), "dim"), " ", _short(value)) for key, value in items.items()]
                table.add_row(_words(name), Columns(texts, padding=(0, 3)))
        return Group(self._bar.get_renderable(), table)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def progress_text(line: Mapping[str, Any]) -> str:
    """A line that [`Progress`] printed in another process, in words."""
    text = f"{line['progress']} {line['done']:,}/{line['total']:,} {line['unit']}"
    if line.get("left_s") is not None:
        text += f", {clock(line['left_s'])} left"
    return text


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, `3:07`; with hours from one on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
