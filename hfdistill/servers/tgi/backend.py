"""The server's side of the engine: who waits for what, and how much may be under way."""

import asyncio
import multiprocessing
import pickle
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ...errors import HFDistillError
from .engine import Done, Failed, Load, Token, run_engine
from .errors import GenerationError, IncompleteGenerationError, OverloadedError, ServeError
from .validation import Job
from .wire import HEADER, Wire, pack


@dataclass
class Ticket:
    """A request that the engine has; `queue` is there for streams only."""

    number: int
    job: Job
    future: asyncio.Future
    queue: asyncio.Queue | None
    queued: float = field(default_factory=time.monotonic)


class Backend:
    """The process that holds the model, as the server sees it.

    Args:
        folder (`str`): the model's.
        dtype (`str`): what to load it as.
        device (`str`): where to.
        max_rows (`int`): the most rows in a batch.
        prefix_bytes (`int`): the most memory for what is kept of how prompts begin.
        max_concurrent_requests (`int`): the most requests under way.
    """

    def __init__(
        self, folder: str, dtype: str, device: str, max_rows: int, prefix_bytes: int, max_concurrent_requests: int
    ):
        # Forking shares what is imported already; elsewhere it is not safe, and nothing is lost but a second.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self.end, theirs = socket.socketpair()
        self.process = context.Process(
            target=_child, args=(self.end, theirs, folder, dtype, device, max_rows, prefix_bytes), daemon=True
        )
        self.process.start()
        theirs.close()
        self.max_concurrent_requests = max_concurrent_requests
        self.permits = 0
        self.load = Load(0, 0)
        self.tickets: dict[int, Ticket] = {}
        self.alive = True
        self.on_death = asyncio.Event()
        self._number = 0
        self._outbox: list[tuple[int, Job | None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Future | None = None

    def wait_until_ready(self) -> dict[str, str]:
        """Returns: `dict[str, str]`: the model's dtype and device.

        Raises:
            [`HFDistillError`]: it cannot be loaded.
        """
        try:
            good, news = Wire(self.end).receive()
        except EOFError as error:
            self.process.join()
            raise HFDistillError(
                f"the model's process ended with status {self.process.exitcode} while loading; is there enough memory?"
            ) from error
        if not good:
            raise HFDistillError(f"the model cannot be loaded: {news}")
        return news

    async def attach(self) -> None:
        """Listens to the engine from now on."""
        self._loop = asyncio.get_running_loop()
        reader, self._writer = await asyncio.open_connection(sock=self.end, limit=1 << 24)
        self._listening = asyncio.ensure_future(self._listen(reader))

    async def close(self) -> None:
        """Ends the engine's process."""
        self.alive = False
        self._listening.cancel()
        self._writer.close()
        await self._writer.wait_closed()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()

    def acquire(self) -> None:
        """Takes a place among the requests under way; `release` gives it back.

        Raises:
            `OverloadedError`: there is none.
        """
        if self.permits >= self.max_concurrent_requests:
            raise OverloadedError()
        self.permits += 1

    def release(self) -> None:
        """Gives a place back."""
        self.permits -= 1

    def submit(self, job: Job) -> Ticket:
        """Gives a job to the engine."""
        if not self.alive:
            raise IncompleteGenerationError()
        self._number += 1
        ticket = Ticket(self._number, job, self._loop.create_future(), asyncio.Queue() if job.stream else None)
        self.tickets[ticket.number] = ticket
        self._send(ticket.number, job)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Takes a job back that nobody waits for."""
        if self.tickets.pop(ticket.number, None) is not None and self.alive:
            self._send(ticket.number, None)

    async def result(self, ticket: Ticket) -> Done:
        """Raises: `ServeError`: the model failed, or the engine is gone."""
        try:
            return await ticket.future
        finally:
            self.cancel(ticket)

    async def events(self, ticket: Ticket) -> AsyncIterator[Token | Done]:
        """Every token, and the end."""
        try:
            while True:
                event = await ticket.queue.get()
                if isinstance(event, ServeError):
                    raise event
                yield event
                if isinstance(event, Done):
                    return
        finally:
            self.cancel(ticket)

    def _send(self, number: int, job: Job | None) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append((number, job))

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        if self.alive:
            self._writer.write(pack(outbox))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                (length,) = HEADER.unpack(await reader.readexactly(HEADER.size))
                self._hear(pickle.loads(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            self._die()

    def _hear(self, news: list[Token | Done | Failed | Load]) -> None:
        for item in news:
            if isinstance(item, Load):
                self.load = item
                continue
            if isinstance(item, Token):
                ticket = self.tickets.get(item.number)
                if ticket is not None:
                    ticket.queue.put_nowait(item)
                continue
            ticket = self.tickets.pop(item.number, None)
            if ticket is not None:
                _settle(ticket, GenerationError(item.reason) if isinstance(item, Failed) else item)

    def _die(self) -> None:
        self.alive = False
        tickets, self.tickets = self.tickets, {}
        for ticket in tickets.values():
            _settle(ticket, IncompleteGenerationError())
        self.on_death.set()


def _settle(ticket: Ticket, outcome: Done | ServeError) -> None:
    if ticket.queue is not None:
        ticket.queue.put_nowait(outcome)
    elif not ticket.future.done():
        if isinstance(outcome, ServeError):
            ticket.future.set_exception(outcome)
        else:
            ticket.future.set_result(outcome)


def _child(
    server_end: socket.socket,
    engine_end: socket.socket,
    folder: str,
    dtype: str,
    device: str,
    max_rows: int,
    prefix_bytes: int,
) -> None:
    # A copy of the server's end would keep the connection open when the server is gone.
    server_end.close()
    run_engine(Wire(engine_end), folder, dtype, device, max_rows, prefix_bytes)
