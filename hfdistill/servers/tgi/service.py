"""What all routes share: from a body to a finished response, with its numbers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from .backend import Backend
from .bodies import Parameters, parse
from .engine import Done, Token
from .errors import ClientGoneError, MalformedError, ServeError
from .metrics import ServerMetrics
from .text import Text
from .validation import Job, Limits, validate


@dataclass
class Finished:
    """A response with its times in seconds.

    Attributes:
        text (`str`): the generated text.
        queue (`float`), inference (`float`): waiting for a place, and from then on.
    """

    job: Job
    done: Done
    text: str
    validation: float
    queue: float
    inference: float

    @property
    def tokens(self) -> int:
        """How many tokens were drawn."""
        return len(self.done.token_ids)

    @property
    def mean_logprob(self) -> float:
        """The mean of the tokens' log-probabilities."""
        return sum(likelihood.logprob for likelihood in self.done.likelihoods) / self.tokens


@dataclass
class Service:
    """The server's state."""

    backend: Backend
    text: Text
    limits: Limits
    info: dict[str, Any]
    payload_limit: int
    metrics: ServerMetrics = field(default_factory=ServerMetrics)

    async def body(self, request: Request) -> dict[str, Any]:
        """The JSON object in the body."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.payload_limit:
                raise MalformedError(413, "Failed to buffer the request body: length limit exceeded")
        return parse(request.headers.get("content-type"), bytes(body))

    async def answer(self, request: Request, work: Callable[[], Any]) -> Any:
        """Does what a client waits for, as long as it waits.

        Raises:
            `ClientGoneError`: the client has hung up; what was under way for it is cancelled.
        """
        task = asyncio.ensure_future(work())
        gone = asyncio.ensure_future(_hangs_up(request))
        gone.add_done_callback(lambda _: task.cancel())
        try:
            return await task
        except asyncio.CancelledError:
            if gone.done() and not gone.cancelled():
                raise ClientGoneError() from None
            raise
        finally:
            gone.cancel()
            task.cancel()

    async def generate(
        self, inputs: str | list[int], parameters: Parameters, *, special_tokens: bool = True
    ) -> Finished:
        """One response. Whether there is a place is asked before the request is looked at."""
        arrived = time.monotonic()
        self.metrics.requests += 1
        try:
            self.backend.acquire()
            try:
                job = validate(inputs, parameters, self.limits, self.text, special_tokens=special_tokens)
                ticket = self.backend.submit(job)
                done = await self.backend.result(ticket)
            finally:
                self.backend.release()
        except ServeError as error:
            self.metrics.failures[error.error_type] += 1
            raise
        return self._finished(job, done, arrived, ticket.queued)

    async def stream(
        self, inputs: str | list[int], parameters: Parameters, *, special_tokens: bool = True
    ) -> AsyncIterator[Token | Finished | Job]:
        """The job, then a response token by token, then the whole of it."""
        arrived = time.monotonic()
        self.metrics.requests += 1
        try:
            self.backend.acquire()
            try:
                job = validate(inputs, parameters, self.limits, self.text, special_tokens=special_tokens, stream=True)
                ticket = self.backend.submit(job)
                yield job
                async for event in self.backend.events(ticket):
                    yield event if isinstance(event, Token) else self._finished(job, event, arrived, ticket.queued)
            finally:
                self.backend.release()
        except ServeError as error:
            self.metrics.failures[error.error_type] += 1
            raise

    def _finished(self, job: Job, done: Done, arrived: float, queued: float) -> Finished:
        now = time.monotonic()
        finished = Finished(
            job=job,
            done=done,
            text=self.text.continuation(job.prompt_ids[-1], done.token_ids),
            validation=queued - arrived,
            queue=max(done.started - queued, 0.0),
            inference=now - done.started,
        )
        self.metrics.succeeded(now - arrived, finished.queue, finished.inference, len(job.prompt_ids), finished.tokens)
        return finished


async def _hangs_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
