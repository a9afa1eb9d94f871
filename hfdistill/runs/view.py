"""What a person sees of running steps: a live table on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..progress import clock, progress_text
from .steps import Running, Step


if TYPE_CHECKING:
    from rich.console import Group

SECONDS_BETWEEN_LINES = 10.0
BAR = 24


class View:
    """Show steps until they are done.

    Args:
        title (`str`): shown above.
        steps (`Sequence[Step]`): all of them, in order.
        done (`set[str]`): names of those that ended well earlier.
        seconds (`Mapping[str, float]`): how long those took.
    """

    def __init__(self, title: str, steps: Sequence[Step], done: set[str], seconds: Mapping[str, float]):
        self.title, self.steps = title, steps
        self.started = time.monotonic()
        self._reported = set(done)
        self._begun: set[str] = set()
        self._last_line = 0.0
        self._live = None
        self._state: tuple[Any, ...] = ({}, done, seconds)

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

    def show(self, running: Mapping[str, Running], done: set[str], seconds: Mapping[str, float]) -> None:
        """Take the present state: what runs, what is done and how long that took."""
        self._state = (dict(running), set(done), dict(seconds))
        if self._live is None:
            self._print_lines()
        self._begun |= running.keys()

    def _print_lines(self) -> None:
        running, done, seconds = self._state
        for name in [step.name for step in self.steps if step.name in done - self._reported]:
            print(f"  {name:<18} done in {clock(seconds[name])}", flush=True)
        for name in running.keys() - self._begun:
            print(f"  {name:<18} begins", flush=True)
        self._reported |= done
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES and running:
            self._last_line = now
            parts = [f"{name} {progress_text(state.progress)}" for name, state in running.items() if state.progress]
            print(f"  … {'; '.join(parts) or 'starting'} | left about {clock(self._left())}", flush=True)

    def _picture(self) -> "Group":
        from rich.console import Group
        from rich.table import Table

        running, done, seconds = self._state
        elapsed = time.monotonic() - self.started
        left = "done" if len(done) == len(self.steps) else f"about {clock(self._left())} left"
        table = Table(box=None, pad_edge=False)
        for heading, justify in (("step", "left"), ("", "left"), ("time", "right"), ("", "left")):
            table.add_column(heading, justify=justify, no_wrap=True)
        for step in self.steps:
            if step.name in done:
                table.add_row(step.name, f"[green]{'━' * BAR}[/]", clock(seconds.get(step.name, 0.0)), "done")
            elif step.name in running:
                state = running[step.name]
                spent = clock(time.monotonic() - state.started)
                table.add_row(f"[bold]{step.name}[/]", _bar(state.progress), spent, _doing(state.progress))
            else:
                word = "stopped" if step.name in self._begun else "waits"
                table.add_row(f"[dim]{step.name}[/]", f"[dim]{'─' * BAR}[/]", "", f"[dim]{word}[/]")
        return Group("", f"[bold]{self.title}[/]   {clock(elapsed)} elapsed, {left}", table)

    def _left(self) -> float:
        """Seconds left: the longest chain of what runs and what waits, at the speed of what was done in this call."""
        running, done, _ = self._state
        ends: dict[str, float] = {}
        for step in self.steps:
            if step.name in done:
                ends[step.name] = 0.0
                continue
            begin = max([ends.get(name, 0.0) for name in step.after], default=0.0)
            if step.name in running:
                state = running[step.name]
                reported = state.progress.get("left_s")
                rest = step.expected - (time.monotonic() - state.started)
                ends[step.name] = max(rest if reported is None else max(reported, rest), 1.0)
            else:
                ends[step.name] = begin + step.expected
        return max(ends.values(), default=0.0)


def _bar(progress: Mapping[str, Any]) -> str:
    if not progress.get("total"):
        return f"[dim]{'─' * BAR}[/]"
    full = round(BAR * min(progress["done"] / progress["total"], 1.0))
    return f"[cyan]{'━' * full}[/][dim]{'─' * (BAR - full)}[/]"


def _doing(progress: Mapping[str, Any]) -> str:
    return progress_text(progress) if progress else "starting"
