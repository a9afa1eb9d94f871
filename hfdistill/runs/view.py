"""What a person sees of running steps: a live table on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..progress import clock, progress_text
from .schedule import together
from .steps import Running, Step


if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group
    from rich.table import Table

SECONDS_BETWEEN_LINES = 10.0
BAR, LEAST_BAR = 24, 8
ROWS = 16  # of the live table; of more steps those at work are shown, and their neighbours


class View:
    """Show steps until they are done; `done` has the seconds of those that ended well earlier, and `parallel` steps
    run at once.
    """

    def __init__(self, title: str, steps: Sequence[Step], done: Mapping[str, float], parallel: int = 1):
        self.title, self.steps, self._done, self._parallel = title, steps, done, parallel
        self.started = time.monotonic()
        self._running: Mapping[str, Running] = {}
        self._reported = set(done)
        self._begun: set[str] = set()
        self._failed: str | None = None
        self._last_line = 0.0
        self._live = None

    def __enter__(self) -> "View":
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(get_renderable=self._picture, refresh_per_second=4, transient=False)
            self._live.start()
        else:
            skipped = f", {len(self._reported)} of {len(self.steps)} steps done before" if self._reported else ""
            print(f"{self.title}{skipped}", flush=True)
        return self

    def __exit__(self, *error) -> None:
        if self._live is not None:
            self._live.refresh()
            self._live.stop()

    def show(self, running: Mapping[str, Running], done: Mapping[str, float]) -> None:
        """Take the present state: what runs, and what is done and how long that took."""
        self._running, self._done = dict(running), done
        if self._live is None:
            self._print_lines()
        self._begun |= running.keys()

    def fail(self, name: str) -> None:
        """A step ended badly: it is shown so, and those that were stopped for it apart from it."""
        self._failed = name

    def _print_lines(self) -> None:
        for name in [step.name for step in self.steps if step.name in self._done.keys() - self._reported]:
            print(f"  {name:<18} done in {clock(self._done[name])}", flush=True)
        for name in self._running.keys() - self._begun:
            print(f"  {name:<18} begins", flush=True)
        if self._failed and self._failed not in self._reported:
            self._reported.add(self._failed)
            print(f"  {self._failed:<18} failed", flush=True)
        self._reported |= self._done.keys()
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES and self._running:
            self._last_line = now
            states = self._running.items()
            parts = [f"{name} {progress_text(state.progress)}" for name, state in states if state.progress]
            count = f" | {len(self._done)} of {len(self.steps)} done" if len(self.steps) > ROWS else ""
            print(f"  … {'; '.join(parts) or 'starting'}{count} | left about {clock(self._left())}", flush=True)

    def _picture(self) -> "Group":
        from rich.console import Group

        elapsed = time.monotonic() - self.started
        left = "done" if len(self._done) == len(self.steps) else f"about {clock(self._left())} left"
        left = "stopped" if self._failed else left
        shown = self._shown()
        heading = f"[bold]{self.title}[/]   {clock(elapsed)} elapsed, {left}"
        if len(shown) < len(self.steps):
            waiting = len(self.steps) - len(self._done) - len(self._running)
            heading += f"   [dim]{len(self._done)} of {len(self.steps)} done, {waiting} wait[/]"
        return Group("", heading, _Table([self._row(step) for step in shown]))

    def _row(self, step: Step) -> tuple[str, float | None, str, str, str]:
        """Name, share that is done, time, words, and their look."""
        if step.name in self._done:
            return step.name, 1.0, clock(self._done[step.name]), "done", "green"
        if step.name in self._running:
            state = self._running[step.name]
            doing = progress_text(state.progress) if state.progress else "starting"
            total = state.progress.get("total")
            share = min(state.progress["done"] / total, 1.0) if total else 0.0
            return step.name, share, clock(time.monotonic() - state.started), doing, "cyan"
        if step.name == self._failed:
            return step.name, 0.0, "", "failed", "red"
        return step.name, None, "", "stopped" if step.name in self._begun else "waits", "dim"

    def _shown(self) -> list[Step]:
        """The steps of the live table: all, or those at work, the last that ended and the next that wait."""
        if len(self.steps) <= ROWS:
            return list(self.steps)
        working = [step for step in self.steps if step.name in self._running]
        waiting = [step for step in self.steps if step.name not in {*self._done, *self._running}]
        ended = {name: place for place, name in enumerate(self._done)}
        done = sorted((step for step in self.steps if step.name in ended), key=lambda step: ended[step.name])
        room = max(ROWS - len(working), 2)
        next_ones = waiting[: max(room // 2, room - len(done))]
        return [*done[max(len(done) - (room - len(next_ones)), 0) :], *working, *next_ones]

    def _left(self) -> float:
        """Seconds left of what runs and what waits, so many at once."""
        seconds = {step.name: step.expected for step in self.steps if step.name not in self._done}
        for name, state in self._running.items():
            rest = state.step.expected - (time.monotonic() - state.started)
            seconds[name] = max(state.progress.get("left_s") or 0.0, rest, 1.0)
        # What runs has its place already.
        order = sorted(self.steps, key=lambda step: step.name not in self._running)
        return together(order, seconds, self._parallel)


class _Table:
    """Rows of steps in whatever width there is: the bar gives way first, then words are wrapped; nothing is cut."""

    def __init__(self, rows: Sequence[tuple[str, float | None, str, str, str]]):
        self.rows = rows

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Table]":
        from rich.markup import escape
        from rich.table import Table

        taken = sum(max((len(row[column]) for row in self.rows), default=0) for column in (0, 2, 3)) + 6
        width = min(max(options.max_width - taken, LEAST_BAR), BAR)
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(overflow="fold")
        table.add_column(no_wrap=True, min_width=width)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        for name, share, spent, words, look in self.rows:
            full = round(width * (share or 0.0))
            bar = f"[{look}]{'━' * full}[/][dim]{'─' * (width - full)}[/]"
            words = f"[bold red]{words}[/]" if look == "red" else escape(words)
            style = {"cyan": "bold", "red": "bold red"}.get(look)
            dim = "dim" if share is None else None
            table.add_row(f"[{style}]{escape(name)}[/]" if style else escape(name), bar, spent, words, style=dim)
        yield table
