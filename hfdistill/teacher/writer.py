"""Group commit: responses that arrive within a moment reach the disk together, off the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from .journal import DiskFull, Journal, Response
from .rescue import Rescue


GROUP = 64
SECONDS = 0.05  # the longest that a response waits for others


class Writer:
    """Writes samples to a journal in groups from a thread of its own; on a full disk, beside it.

    Attributes:
        full ([`~hfdistill.teacher.journal.DiskFull`], *optional*): what the journal said when its disk was full.
    """

    def __init__(self, journal: Journal):
        self._journal, self._rescue = journal, Rescue(journal)
        self.full: DiskFull | None = None
        self._held: list[Response] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._loop = asyncio.get_running_loop()
        self._due = asyncio.Event()
        self._error: BaseException | None = None
        self._closing = False
        self._task = self._loop.create_task(self._run())

    @property
    def backlog(self) -> int:
        """Samples that are not on disk yet, apart from the group being written."""
        return len(self._held)

    def put(self, sample: Response) -> None:
        """Hand over a sample.

        Raises:
            `Exception`: what went wrong with an earlier group.
        """
        if self._error is not None:
            raise self._error
        self._held.append(sample)
        if len(self._held) == 1:
            self._loop.call_later(SECONDS, self._due.set)
        elif len(self._held) >= GROUP:
            self._due.set()

    async def flush(self) -> None:
        """Return when everything handed over is on disk."""
        await self._write()  # even of nothing: the thread comes to it after the group being written
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Write the rest and stop the thread."""
        # Not cancelled: a group that waits for the thread would be cancelled with it, and lost.
        self._closing = True
        self._due.set()
        try:
            await self._task
            await self.flush()
        finally:
            self._pool.shutdown()
            self._rescue.close()

    async def _run(self) -> None:
        try:
            while not self._closing:
                await self._due.wait()
                self._due.clear()
                if self._held:
                    await self._write()
        except Exception as error:
            self._error = error

    async def _write(self) -> None:
        group, self._held = self._held, []
        await self._loop.run_in_executor(self._pool, self._keep, group)

    def _keep(self, group: list[Response]) -> None:
        if self.full is None:
            try:
                self._journal.add(group)
                return
            except DiskFull as error:
                self.full = error
        self._rescue.keep(group)
