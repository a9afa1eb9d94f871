"""The process that owns the model: requests come in, tokens go out, and nobody's request is another's misfortune."""

import signal
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from queue import SimpleQueue

import torch

from ...generation.choosing import Likelihood
from ...generation.loop import PREFIX_BYTES, DecodeLoop, Row
from ...generation.stopping import StopStrings, token_pieces
from ...llama import Passage, read_logits
from .validation import Job
from .wire import Wire


_KEPT_STOPS = 64
_PATIENCE = 4


@dataclass
class EngineRequest:
    """A request's place in the engine."""

    number: int
    job: Job
    started: float = 0.0
    sent: int = 0
    prompt: list[Likelihood] = field(default_factory=list)


@dataclass(slots=True)
class Token:
    """News of a streamed request."""

    number: int
    token: int
    likelihood: Likelihood


@dataclass(slots=True)
class Done:
    """The end of a request; `prompt` holds the likelihoods of the prompt's tokens from the second on."""

    number: int
    token_ids: list[int]
    finish_reason: str
    likelihoods: list[Likelihood]
    prompt: list[Likelihood]
    started: float


@dataclass(slots=True)
class Failed:
    """The end of a request that the model failed on."""

    number: int
    reason: str


@dataclass(slots=True)
class Load:
    """How much is under way, after every step that changed it, and what is kept of how prompts begin: its bytes, and
    the tokens that were not computed again for it since the start.
    """

    running: int
    waiting: int
    prefix_bytes: int = 0
    prefix_tokens: int = 0


class Engine:
    """Decodes the requests of a server in one running batch.

    Args:
        model: a decoder-only `PreTrainedModel`.
        tokenizer: its tokenizer, for stop strings.
        eos_token_ids (`list[int]`): what ends a response.
        wire (`Wire`): to the server.
        max_rows (`int`): the most rows at a time.
        prefix_bytes (`int`, *optional*, defaults to 256 MiB): the most memory for what is kept of beginnings.
    """

    def __init__(
        self, model, tokenizer, eos_token_ids: list[int], wire: Wire, max_rows: int, prefix_bytes: int = PREFIX_BYTES
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.eos_token_ids = eos_token_ids
        self.wire = wire
        self.max_rows = max_rows
        self.prefix_bytes = prefix_bytes
        self.loop = self._new_loop()
        self.waiting: deque[Row] = deque()
        self.suspects: deque[Row] = deque()
        self.streaming: set[Row] = set()
        self.inbox: SimpleQueue = SimpleQueue()
        self.outbox: list[Token | Done | Failed | Load] = []
        self.load = Load(0, 0)
        self.pieces: list[str] | None = None
        self.stops: OrderedDict[tuple[str, ...], StopStrings] = OrderedDict()
        self.impatience = 0

    def _new_loop(self) -> DecodeLoop:
        return DecodeLoop(
            self.model,
            eos_token_id=self.eos_token_ids,
            pad_token_id=0,
            max_rows=self.max_rows,
            prefix_bytes=self.prefix_bytes,
        )

    def run(self) -> None:
        """Works until the server closes the connection."""
        threading.Thread(target=self._read, daemon=True).start()
        with torch.inference_mode():
            while self._receive(wait=not (self.loop.rows or self.waiting or self.suspects)):
                self.turn()

    def turn(self) -> None:
        """Lets rows join, and draws one token for each."""
        self._admit()
        self._step()
        waiting, prefixes = len(self.waiting) + len(self.suspects), self.loop.prefixes
        load = Load(len(self.loop.rows), waiting, prefixes.bytes, prefixes.tokens_saved)
        if load != self.load:
            self.load = load
            self.outbox.append(load)
        # Most steps have nothing to tell, and to be told wakes the server's process.
        if self.outbox:
            self.wire.send(self.outbox)
            self.outbox = []

    def _read(self) -> None:
        # A thread that only reads: the server never waits to be heard, so the two cannot wait for each other.
        try:
            while True:
                self.inbox.put(self.wire.receive())
        except (EOFError, OSError):
            self.inbox.put(None)

    def _receive(self, wait: bool) -> bool:
        while wait or not self.inbox.empty():
            message = self.inbox.get()
            if message is None:
                return False
            for number, job in message:
                if job is None:
                    self._cancel(number)
                else:
                    self.waiting.append(self._row(EngineRequest(number, job)))
            wait = False
        return True

    def _row(self, request: EngineRequest) -> Row:
        job = request.job
        return Row(
            job.prompt_ids,
            job.sampling,
            stop=self._stop(job.stop) if job.stop else None,
            likelihood=job.likelihood,
            top_tokens=job.top_tokens,
            tag=request,
        )

    def _stop(self, strings: tuple[str, ...]) -> StopStrings:
        if strings in self.stops:
            self.stops.move_to_end(strings)
            return self.stops[strings]
        if self.pieces is None:
            self.pieces = token_pieces(self.tokenizer)
        stop = self.stops[strings] = StopStrings(self.tokenizer, strings, self.pieces)
        if len(self.stops) > _KEPT_STOPS:
            self.stops.popitem(last=False)
        return stop

    def _cancel(self, number: int) -> None:
        running = [row for row in self.loop.rows if row.tag.number == number]
        self.loop.cancel(running)
        self.streaming.difference_update(running)
        for queue in (self.waiting, self.suspects):
            for row in [row for row in queue if row.tag.number == number]:
                queue.remove(row)

    def _admit(self) -> None:
        if self.suspects:
            # One of them made a step fail. Each goes through alone, so that only the culprit fails again.
            if not self.loop.rows:
                self._join([self.suspects.popleft()])
            return
        able = min(self.loop.free, len(self.waiting))
        if not able:
            return
        # Joining costs a pass of its own, so a few wait for each other, but not for long.
        self.impatience += 1
        if able < len(self.loop.rows) // 8 and self.impatience < _PATIENCE:
            return
        self.impatience = 0
        self._join([self.waiting.popleft() for _ in range(able)])

    def _join(self, rows: list[Row]) -> None:
        now = time.monotonic()
        for row in rows:
            row.tag.started = now
        try:
            for row in rows:
                if row.tag.job.prompt_likelihood:
                    row.tag.prompt = self._prompt_likelihood(row)
            self.loop.add(rows)
        except Exception as error:  # whatever one prompt did to the model, the others must not suffer
            self._isolate(rows, error)
        else:
            self.streaming.update(row for row in rows if row.tag.job.stream)

    def _step(self) -> None:
        try:
            finished = self.loop.step()
        except Exception as error:  # as above
            self._isolate([], error)
            return
        gone = set(finished)
        for row in [row for row in self.streaming if row in gone or row.slot >= 0]:
            self._stream(row)
        self.streaming.difference_update(gone)
        for row in finished:
            request = row.tag
            if row.finish_reason == "failed":
                self.outbox.append(Failed(request.number, "the model's scores are not numbers"))
            else:
                self.outbox.append(
                    Done(
                        request.number,
                        row.token_ids,
                        row.finish_reason,
                        row.likelihoods,
                        request.prompt,
                        request.started,
                    )
                )

    def _stream(self, row: Row) -> None:
        if row.finish_reason == "failed" or len(row.likelihoods) <= row.tag.sent:
            return
        token = row.token_ids[-1] if row.slot < 0 else self.loop.last_token(row)
        self.outbox.append(Token(row.tag.number, token, row.likelihoods[-1]))
        row.tag.sent += 1

    def _isolate(self, joining: list[Row], error: Exception) -> None:
        """Starts everybody under way again, one at a time; seeds make the texts the same. Who fails alone, fails."""
        rows = [row for row in self.loop.rows if row not in joining] + joining
        self.loop = self._new_loop()
        self.streaming.clear()
        if len(rows) == 1:
            self.outbox.append(Failed(rows[0].tag.number, f"{type(error).__name__}: {error}"))
            return
        self.suspects.extend(self._row(row.tag) for row in rows)

    def _prompt_likelihood(self, row: Row) -> list[Likelihood]:
        if len(row.prompt_ids) < 2:
            return []
        count = min(row.top_tokens, self.model.config.get_text_config().vocab_size)

        def read(logits: torch.Tensor, next_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
            logprobs = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
            values, ids = logprobs.topk(count)
            # A token's id is exact in float64.
            found = torch.cat([logprobs.gather(-1, next_ids[:, None]), values, ids], dim=-1).double()
            return found.unbind(-1)

        passage = Passage.of_responses([row.prompt_ids], [1], 0, self.model.device)
        columns, _ = read_logits(self.model, passage, read)
        return [
            Likelihood(logprob, [(int(token), value) for value, token in zip(rest[:count], rest[count:], strict=True)])
            for logprob, *rest in torch.stack([column[0] for column in columns], dim=-1).tolist()
        ]


def run_engine(wire: Wire, folder: str, dtype: str, device: str, max_rows: int, prefix_bytes: int) -> None:
    """The engine's process: loads the model, says so, and works until the server is gone."""
    # Ctrl-C in a terminal reaches the whole group; the server finishes what is under way and then hangs up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from .model import load_model

    try:
        model, tokenizer, eos_token_ids = load_model(folder, dtype, device)
        engine = Engine(model, tokenizer, eos_token_ids, wire, max_rows, prefix_bytes)
    except Exception as error:  # the server's process reports it
        wire.send((False, f"{type(error).__name__}: {error}"))
        return
    wire.send((True, {"dtype": str(model.dtype), "device": model.device.type}))
    try:
        engine.run()
    except BrokenPipeError:
        # The server's process is gone, and with it whoever waited.
        return
