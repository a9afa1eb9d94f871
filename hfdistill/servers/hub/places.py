"""Places for what takes its time. A caller has only a share of them, so that nobody keeps all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio


class Places:
    """Some places, each for one call at a time; who finds none waits.

    Args:
        total (`int`):
            How many there are.
        share (`int`):
            How many of them one caller has at most.
    """

    def __init__(self, total: int, share: int):
        self._all = anyio.CapacityLimiter(total)
        self._share = share
        self._shares: dict[str, anyio.CapacityLimiter] = {}

    async def in_thread(self, caller: str, function: Callable, *args: Any) -> Any:
        """Runs what blocks in a thread, in one of the caller's places."""
        async with self._one_of_share(caller):
            return await anyio.to_thread.run_sync(function, *args, limiter=self._all)

    @asynccontextmanager
    async def one(self, caller: str) -> AsyncIterator[None]:
        """Keeps one of the caller's places for as long as the context lasts."""
        async with self._one_of_share(caller), self._all:
            yield

    @asynccontextmanager
    async def _one_of_share(self, caller: str) -> AsyncIterator[None]:
        share = self._shares.setdefault(caller, anyio.CapacityLimiter(self._share))
        try:
            async with share:
                yield
        finally:
            if not share.borrowed_tokens and not share.statistics().tasks_waiting:
                self._shares.pop(caller, None)
