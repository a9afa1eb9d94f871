"""How often one endpoint may be asked: what it tells of its limits, and what came through where it refuses."""

import time
from collections.abc import Mapping

from .retry_after import span_seconds


FIRST_WAVE = 128  # requests that do not leave all at once, so that a refusal comes before the last ones
FIRST_AT_ONCE, FIRST_APART = 8, 0.03  # of these, and seconds until the next
FIRST_RATE, DOUBLED_AFTER = 4.0, 0.5  # a second after the first refusal, and seconds to twice as much, until the next
ABOVE = 0.02  # so much more often than what came through: one in fifty is refused, and a limit that rises is found
FIRST_RAISE = 0.5  # by so much a learned rate is raised where nothing is refused; half as much after each refusal
QUIET_REQUESTS, QUIET_PAUSES = 12, 10  # without a refusal: it is raised, and by twice as much the next time
LOWERED, FIRST_LOWERED = 0.85, 0.25  # at most, by one refusal; by the first, whose time was half spent on the way up
CATCH_UP = 0.25  # seconds by which a busy machine may be late without losing its turn
LONGEST_PAUSE = 30.0  # where the server does not say how long
LEAST = 2  # requests that came through from which a rate is read
A_MINUTE = 60.0  # over which limits are told, unless what was used takes longer to come back


class Tempo:
    """Spaces the requests to one endpoint evenly, once some were refused for coming too often.

    The rate is what came through from refusal to refusal, and a fiftieth more. What a server says of its limits in
    `x-ratelimit-limit-*` counts as soon as `x-ratelimit-remaining-*` is used up.

    Args:
        rate (`float`, *optional*): requests a second, where an earlier run learned it.

    Attributes:
        rate (`float`, *optional*): requests a second; `None` as long as nothing was refused.
    """

    def __init__(self, rate: float | None = None):
        self.rate, self._learned, self._raise = rate, rate is not None, ABOVE if rate else FIRST_RAISE
        self._first = 0 if rate else FIRST_WAVE  # requests that are left of the first wave
        self._told: float | None = None
        self._left = 0.0  # requests that may be sent at once, as told
        self._pauses = 0  # since the last answer
        self._paused = 0.0  # seconds, at the latest refusal
        self._held_until = self._due = self._raised = time.monotonic()
        self._since: float | None = None  # the latest refusal of a request that was sent after the one before it
        self._sent = self._quiet = 0  # since then, without those refused; since the rate was raised
        self._came, self._seconds = 0.0, 0.0  # from refusal to refusal; what is long ago counts less

    @property
    def learned(self) -> float | None:
        """The rate, once enough came through to know it."""
        return self.rate if self._learned else None

    @property
    def spacing(self) -> float:
        """Seconds between two requests."""
        rates = [self.rate, self._told if self._left < 1 else None]
        return 1 / min(rate for rate in rates if rate) if any(rates) else 0.0

    def delay(self) -> float:
        """Seconds until another request may be sent; 0 if that is now."""
        now = time.monotonic()
        return max(self._held_until - now, self._due - now, 0.0)

    def send(self) -> float:
        """Count a request that is sent now; returns when that is."""
        now = time.monotonic()
        if self.rate:
            self._speed_up(now)
        self._left -= 1
        self._due = max(self._due, now - CATCH_UP) + self.spacing
        if self._first:
            self._first -= 1
            if self._first % FIRST_AT_ONCE == 0:
                self._due = max(self._due, now + FIRST_APART)
        self._sent += 1
        self._quiet += 1
        return now

    def _speed_up(self, now: float) -> None:
        quiet = now - self._raised
        if not self._learned:
            if quiet < DOUBLED_AFTER or self._quiet < self.rate * quiet / 2:
                return
            self.rate *= 2
        elif quiet < QUIET_PAUSES * self._paused or self._quiet < QUIET_REQUESTS:
            return
        else:
            self.rate *= 1 + self._raise
            self._raise = min(2 * self._raise, 1.0)
        self._raised, self._quiet = now, 0

    def refused(self, sent: float, seconds: float | None) -> None:
        """Count a refusal.

        Args:
            sent (`float`): when [`~Tempo.send`] said that the request went off.
            seconds (`float`, *optional*): that the server asks to wait.
        """
        now, same_wave = time.monotonic(), self._since is not None and sent < self._since
        if seconds is None:
            seconds = 0.0 if same_wave else min(2.0**self._pauses, LONGEST_PAUSE)
        self._held_until = max(self._held_until, now + seconds)
        if same_wave:
            return
        self._pauses += 1
        self._paused = seconds
        if self._since is None:
            self._since, self._sent = now, 0
        else:
            self._sent -= 1
        if self._sent >= LEAST:
            self._came = self._came / 2 + self._sent
            self._seconds = self._seconds / 2 + now - self._since
            least = (LOWERED if self._learned else FIRST_LOWERED) * self.rate
            self.rate = max((1 + ABOVE) * self._came / self._seconds, least)
            self._raise = max(self._raise / 2, ABOVE)
            self._learned, self._since, self._sent = True, now, 0
        elif not self._learned:
            self.rate, self._first = FIRST_RATE, 0
        self._raised, self._quiet = self._held_until, 0

    def answered(self) -> None:
        """Count an answer."""
        self._pauses = 0

    def heed(self, headers: Mapping[str, str], in_flight: int, tokens: int | None) -> None:
        """Read what a server says of its limits.

        Args:
            headers (`Mapping[str, str]`): of an answer.
            in_flight (`int`): requests that it has not counted yet, perhaps.
            tokens (`int`, *optional*): of the request and its answer.
        """
        told, left = [], []
        for what, each in (("requests", 1), ("tokens", tokens)):
            limit = headers.get(f"x-ratelimit-limit-{what}")
            if limit is None or not each or not (limit := span_seconds(limit)):
                continue
            back = span_seconds(headers.get(f"x-ratelimit-reset-{what}", "")) or 0.0
            if back <= A_MINUTE:
                told.append(limit / A_MINUTE / each)
                left.append((span_seconds(headers.get(f"x-ratelimit-remaining-{what}", "")) or 0.0) / each - in_flight)
        if told:
            self._told, self._left = min(told), min(left)
