"""How slowly a client may send and read: whoever is waited for too long is sent away, whatever trickles in."""

import time
from collections.abc import Awaitable, Callable

import anyio

from .errors import HubError


# Seconds that are waited for each `FLOOR` bytes of a body, or of an answer.
PATIENCE = 60
FLOOR = 16 * 1024


class Pace:
    """Counts how long the sender of a body is waited for; time that the Hub itself takes does not count."""

    def __init__(self) -> None:
        self._bytes, self._waited = 0, 0.0

    @property
    def left(self) -> float:
        """Seconds that may still be waited."""
        return max(0.0, PATIENCE - self._waited)

    def note(self, count: int, waited: float) -> None:
        """Notes that `count` bytes came after `waited` seconds."""
        self._bytes += count
        self._waited += waited
        if self._bytes >= FLOOR:
            self._bytes, self._waited = 0, 0.0


def too_slow() -> HubError:
    return HubError(408, f"The body comes too slowly: less than {FLOOR} bytes in {PATIENCE} seconds.")


def paced(receive: Callable[[], Awaitable[dict]]) -> Callable[[], Awaitable[dict]]:
    """An ASGI `receive` that raises [`HubError`] 408 where a body comes too slowly."""
    pace, coming = Pace(), True

    async def receive_in_time() -> dict:
        nonlocal coming
        if not coming:
            return await receive()
        started = time.monotonic()
        try:
            with anyio.fail_after(pace.left):
                message = await receive()
        except TimeoutError as error:
            raise too_slow() from error
        pace.note(len(message.get("body", b"")), time.monotonic() - started)
        coming = message.get("more_body", False)
        return message

    return receive_in_time
