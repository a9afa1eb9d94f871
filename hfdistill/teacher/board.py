"""Figures of a sampling run while it goes on, and how it ended."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ..progress import Progress
from .budget import Budget
from .journal import DONE, Journal
from .limits import Lane
from .plan import Plan, Request
from .protocols import Completion


@dataclass(frozen=True)
class Outcome:
    """How a run of the sampler ended.

    Attributes:
        asked (`int`): responses that arrived during it.
        missing (`int`): planned responses that are not there.
        stopped (`str`, *optional*): why it ended before the plan did: `"interrupted"` or the limit reached.
        refused (`float`): share of tries that an endpoint was too busy for.
    """

    asked: int
    missing: int
    stopped: str | None
    refused: float


class Board:
    """Counts what arrives and shows it."""

    def __init__(
        self, plan: Plan, journal: Journal, lanes: list[Lane], budget: Budget, progress: Progress | None = None
    ):
        self._plan, self._journal, self._lanes, self._budget, self._progress = plan, journal, lanes, budget, progress
        self._planned = plan.by_temperature()
        self._there = count_there(plan, journal)
        self._asked, self._tokens, self._started = 0, 0, time.monotonic()
        self._before = self._totals()

    def count(self, request: Request, completion: Completion) -> None:
        """Count a response."""
        self._asked += 1
        self._tokens += completion.completion_tokens or 0
        self._there[request.temperature] += 1

    def show(self) -> None:
        """Bring the progress up to date."""
        if self._progress is None:
            return
        fields: dict[str, Any] = {
            "by_temperature": {f"{t:g}": f"{self._there[t]}/{count}" for t, count in self._planned.items()},
            "in_flight": {
                lane.endpoint.url: f"out, {lane.trouble}" if lane.open else lane.describe() for lane in self._lanes
            },
            "tokens_per_s": round(self._tokens / max(time.monotonic() - self._started, 1e-9)),
            "refused_share": round(self._refused(), 4),
        }
        if self._budget.has_price:
            fields["cost"] = round(self._budget.cost, 2)
        self._progress.update(sum(self._there.values()), **fields)

    def outcome(self, stopped: str | None) -> Outcome:
        """How it ended, by what the journal holds."""
        missing = len(self._plan) - sum(count_there(self._plan, self._journal).values())
        return Outcome(self._asked, missing, stopped, self._refused())

    def _totals(self) -> tuple[int, int]:
        return sum(lane.answers for lane in self._lanes), sum(lane.refusals for lane in self._lanes)

    def _refused(self) -> float:
        answers, refusals = (now - before for now, before in zip(self._totals(), self._before, strict=True))
        return refusals / (answers + refusals) if answers + refusals else 0.0


def count_there(plan: Plan, journal: Journal) -> Counter:
    """Number of planned responses that a journal holds, by temperature."""
    there: Counter = Counter()
    for question in plan.questions:
        keys = journal.keys(question.question_id)
        there.update(key[0] for key in plan.grid.keys & keys.keys() if keys[key] == DONE)
    return there
