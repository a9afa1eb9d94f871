"""How much one endpoint is asked at a time: additive increase, multiplicative decrease, and a circuit breaker."""

import random
import time
from collections import deque
from typing import Any

from .endpoints import Endpoint
from .transport import Busy, Late


UNKNOWN_LIMIT = 64  # where the server does not say how much it takes
DECREASE, OF_LATE = 0.8, 0.5  # refused, or not answered in time
FAULTS_IN_A_ROW = 16  # without one answer between them: the endpoint is out, not the requests


class Lane:
    """An endpoint, the requests meant for it, and how many of them may be in flight.

    The limit starts at `concurrency`, by default at what the server says it takes. Refusals lower it by a fifth, at
    most once a second, unless they ask to come back later: that is about how often, which the endpoint's tempo keeps.
    A request that was not answered in time lowers it by half if it was sent since the last time. Answers while it is
    used up raise it by one for every `limit` of them, up to where it started (to four times the start where the server
    does not say).
    """

    def __init__(self, endpoint: Endpoint, concurrency: int | None = None):
        self.endpoint = endpoint
        self.queue: deque[Any] = deque()
        self.in_flight = 0
        self.open = False  # as of a circuit: nothing flows
        self.due = False  # whether it is looked at again as soon as its tempo allows
        self.trouble = ""  # the latest one
        self.busy = False  # whether the latest answer was a refusal
        self.outages = 0  # since the last answer
        self.held: list[tuple[Any, str]] = []  # requests that it refused since the last answer, and why
        self.refuses_all = False  # as far as was found out since the last answer
        self.checked = 0  # journal position at which the model was last known to be the right one
        self.answers = 0
        self.refusals = 0
        self._concurrency = concurrency
        self._faults = 0
        self._lowered = 0.0
        self._trying = False  # one request is out to see whether the endpoint is back
        self._resume_at = 1.0
        self.last_answer = time.monotonic()
        self.reset()

    def reset(self) -> None:
        """Set the limit to where it starts, by what the server says now."""
        said = self.endpoint.identity.limit if self.endpoint.identity else None
        self.limit = float(self._concurrency or said or UNKNOWN_LIMIT)
        self._most = self.limit if self._concurrency or said else 4 * self.limit

    @property
    def free(self) -> bool:
        """Whether another request may be sent now."""
        return self.has_slot and not self.endpoint.transport.tempo.delay()

    @property
    def has_slot(self) -> bool:
        """Whether another request may be sent as soon as the tempo allows it."""
        return not self.open and self.in_flight < int(self.limit)

    def describe(self) -> str:
        """Requests in flight of how many, and the tempo that is kept."""
        rate = self.endpoint.transport.tempo.rate
        return f"{self.in_flight}/{int(self.limit)}" + (f" at {rate:.3g} a second" if rate else "")

    def answered(self) -> None:
        """Count an answer, be it a refusal for good, that came while `in_flight` still holds its request."""
        self.answers += 1
        self._faults = self.outages = 0
        self.busy = False
        self.last_answer = time.monotonic()
        if self._trying:
            self._trying = False
            self.limit = self._resume_at
        elif self.in_flight >= int(self.limit):
            self.limit = min(self.limit + 1 / self.limit, self._most)

    def refused(self, trouble: Busy) -> bool:
        """Count a refusal because the endpoint is busy; returns whether its tempo says when to come back."""
        self.refusals += 1
        self.busy = True
        if trouble.wait is not None:
            return True
        if self.limit == 1 and not self._trying:  # not for being too many at once
            self.endpoint.transport.tempo.refused(trouble.sent, None)
            return True
        now = time.monotonic()
        if now - self._lowered >= 1:
            self._lowered = now
            self.limit = max(self.limit * DECREASE, 1.0)
        return False

    def late(self, trouble: Late) -> None:
        """Count a request that was not answered in time."""
        if trouble.sent > self._lowered:
            self._lowered = time.monotonic()
            self.limit = max(self.limit * OF_LATE, 1.0)

    def faulted(self) -> bool:
        """Count a try that went wrong; returns whether the endpoint itself seems to be out."""
        self._faults += 1
        return self._faults >= FAULTS_IN_A_ROW

    def close_circuit(self) -> None:
        """Let one request through; its answer restores the limit."""
        self.open = False
        self._faults = FAULTS_IN_A_ROW - 1
        if not self._trying:
            self._resume_at = max(self.limit * DECREASE, 1.0)
        self._trying = True
        self.limit = 1.0

    def silent_for(self) -> float:
        """Seconds since the last answer while there is trouble; 0 while a request is out that may yet be answered."""
        troubled = (self.open or self.busy) and not self.in_flight
        return time.monotonic() - self.last_answer if troubled else 0.0


def backoff(tries: int, base: float, most: float) -> float:
    """Seconds to wait before the next try: anything up to a bound that doubles (full jitter)."""
    return random.uniform(0, min(most, base * 2 ** min(tries, 16)))
