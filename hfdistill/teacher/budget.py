"""What a sampling run may cost, and what it has cost so far, over all calls that its journal has seen."""

import time

from ..sections import TeacherConfig
from .journal import Journal
from .protocols import Completion


class Budget:
    """Counts responses, tokens and endpoint hours, and says when to stop.

    Args:
        journal ([`~hfdistill.teacher.journal.Journal`]): what was bought before; also keeps the endpoints' hours.
        teacher ([`~hfdistill.sections.TeacherConfig`]): limits and prices.
        endpoints (`int`): endpoints that run meanwhile.
    """

    def __init__(self, journal: Journal, teacher: TeacherConfig, endpoints: int):
        self._journal, self._endpoints = journal, endpoints
        self.max_requests, self.max_cost = teacher.max_requests, teacher.max_cost
        self._prices = (teacher.gpu_hour_price or 0.0, teacher.input_price or 0.0, teacher.output_price or 0.0)
        self.requests = sum(journal.counts().values())
        self.prompt_tokens, self.completion_tokens = map(int, journal.tokens())
        self._earlier_seconds = journal.note("endpoint_seconds") or 0.0
        self._started = time.monotonic()

    @property
    def has_price(self) -> bool:
        """Whether a cost can be told."""
        return any(self._prices)

    @property
    def endpoint_seconds(self) -> float:
        """Seconds that endpoints ran for this journal, all of them together."""
        return self._earlier_seconds + self._endpoints * (time.monotonic() - self._started)

    @property
    def cost(self) -> float:
        """What was spent so far, in the currency of the prices."""
        hour, prompt, completion = self._prices
        tokens = (prompt * self.prompt_tokens + completion * self.completion_tokens) / 1e6
        return hour * self.endpoint_seconds / 3600 + tokens

    def count(self, completion: Completion) -> None:
        """Count a response."""
        self.requests += 1
        self.prompt_tokens += completion.prompt_tokens or 0
        self.completion_tokens += completion.completion_tokens or 0

    def exhausted(self, in_flight: int) -> bool:
        """Whether another request, beside those in flight, would go beyond what is allowed."""
        if self.max_requests is not None and self.requests + in_flight >= self.max_requests:
            return True
        if self.max_cost is None:
            return False
        each = self.cost / self.requests if self.requests else 0.0
        return self.cost + each * (in_flight + 1) > self.max_cost

    def save(self) -> None:
        """Keep the endpoints' hours in the journal."""
        self._journal.set_note("endpoint_seconds", round(self.endpoint_seconds, 3))

    def figures(self) -> dict[str, float]:
        """For manifest and card: `requests`, `prompt_tokens`, `completion_tokens`, `endpoint_hours`, `cost`."""
        figures = {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "endpoint_hours": round(self.endpoint_seconds / 3600, 4),
        }
        return {**figures, "cost": round(self.cost, 4)} if self.has_price else figures
