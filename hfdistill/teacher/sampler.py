"""The sampler: every request of a plan through any number of endpoints, each answered and kept exactly once."""

import asyncio
import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import HFDistillError
from ..progress import Progress
from .board import Board, Outcome
from .budget import Budget
from .checks import Checks
from .endpoints import Endpoint
from .garbage import rarely_collected
from .journal import DiskFull, Journal
from .limits import Lane, backoff
from .plan import Plan, Request
from .protocols import Completion
from .responses import answered, parked, refused
from .transport import CHECK, Busy, Faulty, Gone, Late, Rejected, Trouble
from .writer import Writer


GRACE_SECONDS = 30.0  # that answers in flight may take after Ctrl-C: they are paid for
NO_ENTRY = (401, 402)  # before any answer: no waiting makes the token a better one
MOST_BACKLOG = 10_000  # responses that may wait for a slow disk
REFUSED_QUESTIONS = 5  # in a row: it may be the endpoint that refuses everything


@dataclass(slots=True)
class Pending:
    """A request on its way, and how often it was sent in vain."""

    request: Request
    tries: int = 0
    refusals: int = 0


class Sampler:
    """Asks for everything in a plan that its journal does not hold.

    A question's requests go to one endpoint one after another, so that its prefix cache is used; an endpoint with
    nothing left takes over from the one with most. The slot of a request that must wait is free meanwhile. Memory
    does not grow with the plan.

    Args:
        endpoints (`list[Endpoint]`): prepared endpoints; one that could not be reached yet may be among them.
        journal ([`~hfdistill.teacher.journal.Journal`]): where responses are kept.
        budget ([`~hfdistill.teacher.budget.Budget`]): where to stop.
        concurrency (`int`, *optional*): requests in flight at each endpoint.
        tries (`int`, *optional*, defaults to 5): how often a failing request is sent.
        patience (`float`, *optional*, defaults to 900): seconds without an answer after which an endpoint is given up.
        wait (`tuple[float, float]`, *optional*, defaults to `(0.5, 30.0)`): bound of the first pause before another
            try, and of the longest.
        check_every (`float`, *optional*, defaults to 30): seconds between two looks at which model is served.
    """

    def __init__(
        self,
        endpoints: list[Endpoint],
        journal: Journal,
        budget: Budget,
        concurrency: int | None = None,
        tries: int = 5,
        patience: float = 900.0,
        wait: tuple[float, float] = (0.5, 30.0),
        check_every: float = 30.0,
    ):
        self.lanes = [Lane(endpoint, concurrency) for endpoint in endpoints]
        self.journal = journal
        self.budget = budget
        self._tries, self._patience, self._wait, self._check_every = tries, patience, wait, check_every
        self._checks = Checks(self.lanes, journal)

    async def run(self, plan: Plan, progress: Progress | None = None) -> Outcome:
        """Ask until the plan is complete, the budget is used up, or Ctrl-C.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if no endpoint is left, or one serves another model now.
        """
        self._loop = asyncio.get_running_loop()
        self._plan = plan
        self._questions: Iterator[Any] | None = iter(plan.questions)
        self._returned: deque[Pending] = deque()  # due for another try, by any endpoint
        self._waiting = 0  # pausing before another try
        self._in_flight = 0  # of all lanes; a task that was answered may wait a moment to be taken from `_tasks`
        self._tasks: set[asyncio.Task] = set()
        self._helpers: set[asyncio.Task] = set()
        self._over = asyncio.Event()
        self._error: BaseException | None = None
        self._stopped: str | None = None
        self._writer = Writer(self.journal)
        self._board = Board(plan, self.journal, self.lanes, self.budget, progress)
        restore = self._catch_signals()
        for lane in self.lanes:
            lane.checked = self.journal.position()
            lane.last_answer = time.monotonic()
            if lane.endpoint.identity is None:
                self._open_circuit(lane, "could not be reached")
        self._help(self._tick())
        try:
            self._pump()
            with rarely_collected():
                await self._over.wait()
            if self._error is None and self._stopped != "interrupted":
                await asyncio.gather(*(self._check_quietly(lane) for lane in self.lanes if not lane.open))
        finally:
            restore()
            for task in (*self._helpers, *self._tasks):
                task.cancel()
            await asyncio.gather(*self._helpers, *self._tasks, return_exceptions=True)
            await self._writer.close()
            self._note_what_was_learned()
            self._board.show()
        if self._error or self._writer.full:
            raise self._error or self._writer.full
        return self._board.outcome(self._stopped)

    # What to ask next.

    def _pump(self) -> None:
        if self._writer.full:
            self._stopped = self._stopped or "a full disk"
        for lane in self.lanes:
            while lane.free and not self._stopped and self._writer.backlog < MOST_BACKLOG:
                pending = self._next(lane)
                if pending is None:
                    break
                lane.in_flight += 1
                self._in_flight += 1
                task = self._loop.create_task(self._ask(lane, pending))
                self._tasks.add(task)
                task.add_done_callback(self._settled)
            if lane.has_slot and not lane.due and (delay := lane.endpoint.transport.tempo.delay()):
                lane.due = True
                self._loop.call_later(delay, self._due, lane)
        if not self._tasks and (self._stopped or self._nothing_left()):
            # What was refused last may be for other endpoints to answer; nobody knows where the run was stopped.
            doubtful = [] if self._stopped else [lane for lane in self.lanes if lane.held]
            for lane in doubtful:
                self._open_circuit(lane, lane.held[-1][1])
            if not doubtful:
                self._over.set()

    def _due(self, lane: Lane) -> None:
        lane.due = False
        if not self._over.is_set():
            self._pump()

    def _next(self, lane: Lane) -> Pending | None:
        if self.budget.exhausted(self._in_flight):
            if not self._in_flight and not self._nothing_left():
                self._stopped = "the limit of teacher.max_requests or teacher.max_cost"
            return None
        if self._returned:
            return self._returned.popleft()
        # Requests that pause hold no slot, so their number has to be bounded here.
        if not lane.queue and self._waiting <= sum(int(other.limit) for other in self.lanes):
            self._take_question(lane)
        if not lane.queue:
            longest = max(self.lanes, key=lambda other: len(other.queue))
            return longest.queue.pop() if longest.queue else None
        return lane.queue.popleft()

    def _take_question(self, lane: Lane) -> None:
        for question in self._questions or ():
            there = self.journal.keys(question.question_id)
            if not self._plan.grid.keys <= there.keys():
                asked = self._plan.of(question)
                lane.queue.extend(Pending(r) for r in asked if (r.temperature, r.sample) not in there)
                return
        self._questions = None

    def _nothing_left(self) -> bool:
        return not (
            self._questions is not None or self._waiting or self._returned or any(lane.queue for lane in self.lanes)
        )

    # One request.

    async def _ask(self, lane: Lane, pending: Pending) -> None:
        request = pending.request
        try:
            completion = await lane.endpoint.complete(request.prompt, request.temperature, request.seed)
            completion = self.budget.counted(request.prompt, completion)
            self.budget.count(completion)
            other = self._another(lane, request, completion)
        except Busy as trouble:
            lane.trouble = str(trouble)
            pending.refusals += 1
            if lane.refused(trouble):
                self._returned.append(pending)
            else:
                self._later(pending, pending.refusals)
        except Faulty as trouble:
            lane.trouble = str(trouble)
            if isinstance(trouble, Late):
                lane.late(trouble)
            pending.tries += 1
            if pending.tries >= self._tries:
                self._writer.put(parked(lane.endpoint, request, str(trouble)))
            else:
                self._later(pending, pending.tries)
            if lane.faulted():
                self._open_circuit(lane, str(trouble))
        except Rejected as trouble:
            lane.answered()
            lane.held.append((pending, str(trouble)))
            questions = {held.request.question_id for held, _ in lane.held}
            if lane.refuses_all or len(questions) >= REFUSED_QUESTIONS:
                self._open_circuit(lane, str(trouble))
        except Gone as trouble:
            self._returned.append(pending)
            if trouble.status in NO_ENTRY and not any(other.answers for other in self.lanes):
                raise HFDistillError(f"endpoint {lane.endpoint.url} {trouble}: {CHECK}") from trouble
            self._open_circuit(lane, str(trouble))
        else:
            lane.answered()
            lane.refuses_all = False
            if lane.held:
                self._give_up_refused(lane)
            self._board.count(request, completion)
            self._writer.put(answered(lane.endpoint, request, completion, other))
        finally:
            lane.in_flight -= 1
            self._in_flight -= 1

    def _settled(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if task.exception() is not None:
            self._fail(task.exception())
            return
        self._pump()

    def _another(self, lane: Lane, request: Request, completion: Completion) -> str | None:
        """Which accepted model answered instead of the one that was asked. What another one answers is set apart.

        Raises:
            [`~hfdistill.teacher.transport.Faulty`]: if another one answered.
        """
        other = lane.endpoint.another(completion)
        if other is None or other in lane.endpoint.accept_models:
            return other
        self.journal.set_apart([answered(lane.endpoint, request, completion, other)])
        raise Faulty(
            f"was answered by {other!r} instead of {lane.endpoint.answers_as or lane.endpoint.identity.model_id!r}, "
            f"which is set apart (--teacher.accept_models {other!r} keeps it)"
        )

    def _give_up_refused(self, lane: Lane) -> None:
        """Keep the refusals since the last answer: they were about these requests."""
        held, lane.held = lane.held, []
        for pending, reason in held:
            self._writer.put(refused(lane.endpoint, pending.request, reason))

    def _later(self, pending: Pending, tries: int) -> None:
        self._waiting += 1
        self._loop.call_later(backoff(tries - 1, *self._wait), self._again, pending)

    def _again(self, pending: Pending) -> None:
        self._waiting -= 1
        self._returned.append(pending)
        if not self._over.is_set():
            self._pump()

    # An endpoint that is out.

    def _open_circuit(self, lane: Lane, reason: str) -> None:
        lane.trouble = reason
        if lane.open:
            return
        lane.open = True
        self._returned.extend(lane.queue)
        lane.queue.clear()
        self._help(self._recover(lane))

    async def _recover(self, lane: Lane) -> None:
        while True:
            await asyncio.sleep(backoff(lane.outages, *self._wait))
            lane.outages += 1
            try:
                await self._checks.same_model(lane, self._writer)
                if lane.held:
                    await self._find_out_what_is_refused(lane)
            except Trouble as trouble:
                lane.trouble = str(trouble)
                continue
            lane.close_circuit()
            self._pump()
            return

    async def _find_out_what_is_refused(self, lane: Lane) -> None:
        reason = await self._checks.refuses_all(lane, self._plan, self._writer)
        if reason is None or not lane.held:  # a request that was on its way was answered meanwhile
            self._give_up_refused(lane)
            return
        self._returned.extend(pending for pending, _ in lane.held)
        lane.held, lane.refuses_all = [], True
        if all(other.open for other in self.lanes):
            raise HFDistillError(
                f"endpoint {lane.endpoint.url} refuses everything that it is asked now: it {reason}. No question is "
                "marked for that; change what it names, and the same command goes on"
            )
        raise Faulty(reason)

    def _help(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helped)

    def _helped(self, task: asyncio.Task) -> None:
        self._helpers.discard(task)
        self.end_with(task)

    def end_with(self, task: asyncio.Task) -> None:
        """End the run with what a task ended with, where that is an error."""
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception())

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._over.set()

    # Time.

    async def _tick(self) -> None:
        checked = time.monotonic()
        while True:
            await asyncio.sleep(0.25)
            self._board.show()
            self._give_up_the_silent()
            if time.monotonic() - checked >= self._check_every:
                checked = time.monotonic()
                self._note_what_was_learned()
                for lane in self.lanes:
                    if not lane.open:
                        self._help(self._check_quietly(lane))
            self._pump()

    def _note_what_was_learned(self) -> None:
        """Keep what the next run begins with: the hours that endpoints ran, and their tempos."""
        try:
            self.budget.save()
            for lane in self.lanes:
                if rate := lane.endpoint.transport.tempo.learned:
                    self.journal.set_note(f"tempo of {lane.endpoint.url}", rate)
        except DiskFull as error:
            self._writer.full = error

    async def _check_quietly(self, lane: Lane) -> None:
        try:
            await self._checks.same_model(lane, self._writer)
        except Trouble as trouble:
            lane.trouble = str(trouble)  # requests meet the same trouble and deal with it

    def _give_up_the_silent(self) -> None:
        if all(lane.silent_for() > self._patience for lane in self.lanes):
            reasons = "; ".join(f"{lane.endpoint.url} {lane.trouble}" for lane in self.lanes)
            raise HFDistillError(
                f"no endpoint has answered for {self._patience:g} s: {reasons}. What was answered is kept; "
                "the same command goes on"
            )

    def _catch_signals(self) -> Callable[[], None]:
        caught = []
        for number in (signal.SIGINT, signal.SIGTERM):
            # Only a main thread may, and Windows never: there Ctrl-C ends the process, and the journal has everything.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                self._loop.add_signal_handler(number, self._interrupt)
                caught.append(number)
        return lambda: [self._loop.remove_signal_handler(number) for number in caught]

    def _interrupt(self) -> None:
        if self._stopped == "interrupted":
            self._over.set()
            return
        self._stopped = "interrupted"
        print(
            f"interrupted: waiting up to {GRACE_SECONDS:g} s for {len(self._tasks)} answers in flight; "
            "once more ends it at once",
            file=sys.stderr,
        )
        self._loop.call_later(GRACE_SECONDS, self._over.set)
        self._pump()
