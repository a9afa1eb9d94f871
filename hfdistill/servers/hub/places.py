"""Places for what takes its time, shared so that neither one caller nor a few keep all."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio


class Places:
    """Some places, each for one call at a time; who finds none waits.

    Half of them are for callers who have none: several callers with their full shares leave these to others.

    Args:
        total (`int`):
            How many there are.
        share (`int`):
            How many of them one caller has at most.
    """

    def __init__(self, total: int, share: int):
        self._total, self._share = total, share
        self._threads = anyio.CapacityLimiter(total)
        self._taken: Counter[str] = Counter()
        self._freed = anyio.Event()

    async def in_thread(self, caller: str, function: Callable, *args: Any) -> Any:
        """Runs what blocks in a thread, in one of the caller's places."""
        async with self.one(caller):
            return await anyio.to_thread.run_sync(function, *args, limiter=self._threads)

    @asynccontextmanager
    async def one(self, caller: str) -> AsyncIterator[None]:
        """Keeps one of the caller's places for as long as the context lasts."""
        while not self._has_one_for(caller):
            await self._freed.wait()
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken -= Counter([caller])
            self._freed.set()
            self._freed = anyio.Event()

    def _has_one_for(self, caller: str) -> bool:
        total, own = self._taken.total(), self._taken[caller]
        further = total - len(self._taken)
        return total < self._total and own < self._share and (own == 0 or further < self._total // 2)
