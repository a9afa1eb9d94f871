"""Turns at what answers one after the other: each model has a lane of its own, and whoever waits knows its place."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import HFDistillError
from .visitors import ForVisitors


LONGEST_QUEUE = 64
T = TypeVar("T")


class Stopped(Exception):
    """Nobody waits for this work any more."""


@dataclass(eq=False)
class Turns:
    """A queue in front of one model.

    Args:
        at_once (`int`, *optional*, defaults to 1): how many are served at a time.
    """

    at_once: int = 1
    busy: int = 0
    waiting: dict[asyncio.Future, Callable[[int], None]] = field(default_factory=dict)

    @asynccontextmanager
    async def turn(self, place: Callable[[int], None]) -> AsyncIterator[None]:
        """Wait for a turn and have it; who is cancelled meanwhile leaves the queue.

        Args:
            place (`Callable[[int], None]`): told how many are served first, whenever that changes.

        Raises:
            [`~hfdistill.space.visitors.ForVisitors`]: if too many wait already.
        """
        if self.busy >= self.at_once:
            await self._wait(place)
        else:
            self.busy += 1
        try:
            yield
        finally:
            self._leave()

    async def _wait(self, place: Callable[[int], None]) -> None:
        if len(self.waiting) >= LONGEST_QUEUE:
            raise ForVisitors(f"{len(self.waiting)} questions wait here already. Try again in a minute.")
        ticket = asyncio.get_running_loop().create_future()
        self.waiting[ticket] = place
        place(self.busy + len(self.waiting) - 1)
        try:
            await ticket
        except asyncio.CancelledError:
            if self.waiting.pop(ticket, None) is None:  # its turn had come already
                self._leave()
            else:
                self._tell()
            raise

    def _leave(self) -> None:
        """Hand the turn on, or give it back."""
        if self.waiting:
            ticket = next(iter(self.waiting))
            del self.waiting[ticket]
            ticket.set_result(None)
            self._tell()
        else:
            self.busy -= 1

    def _tell(self) -> None:
        for before, place in enumerate(self.waiting.values()):
            place(self.busy + before)


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Do work in a thread. If the one who waits for it is cancelled, the work is asked to stop, and the wait ends when
    it has: a lane is free only when its model is.

    Args:
        work (`Callable[[threading.Event], T]`): looks at the event now and then, and raises [`Stopped`] once it
            is set.
    """
    stop = threading.Event()
    thread = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        stop.set()
        with suppress(Stopped, HFDistillError):
            await thread
        raise
