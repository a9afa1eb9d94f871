"""What an endpoint takes of what a run asks, and whether it heeds the temperature: found out by asking it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import reduce
from typing import Any

from ..chat import Message
from ..errors import HFDistillError
from .budget import Budget
from .endpoints import Endpoint, patiently
from .journal import Journal
from .plan import LARGEST_SEED, Plan, Prompt, Request
from .protocols import LENGTHS, TGI, TOP_K_OFF, Accepted, Completion, Decoding, Protocol
from .transport import CHECK, Faulty, Gone, Rejected, Reply, Trouble


QUESTIONS = 5  # that are tried: one may be refused for what it says
TOKENS = 64
AT_ONCE = 8
FEW, MANY = 6, 16  # drawn responses: the few go with two greedy ones, all at once
TRIES = 8
FAILURES = 3  # by a 500, which are a refusal: llama-cpp-python's word for a setting out of its range
BARE = Accepted({}, largest_seed=0, stop=False)
UNABLE = "cannot vary the temperature from request to request"
OTHERS = "Use TGI, vLLM, SGLang, llama.cpp or `hfdistill serve`"
BEGINNINGS = ("<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>", "<｜begin▁of▁sentence｜>", "[BOS]")


class Probing:
    """A few requests to one endpoint before a run relies on it.

    Args:
        endpoint ([`~hfdistill.teacher.endpoints.Endpoint`]): a prepared one; what is found is kept there.
        at_once (`int`, *optional*): the most requests in flight.
        budget ([`~hfdistill.teacher.budget.Budget`], *optional*): counts what they cost.

    Attributes:
        answers (`list[tuple[Request, Completion]]`): requests of the run that were answered on the way.
    """

    def __init__(self, endpoint: Endpoint, at_once: int | None = None, budget: Budget | None = None):
        self.endpoint, self._budget = endpoint, budget
        self._slots = asyncio.Semaphore(min(filter(None, (AT_ONCE, endpoint.identity.limit, at_once))))
        whole = endpoint.decoding
        self._short = replace(whole, max_new_tokens=min(TOKENS, whole.max_new_tokens))
        self._refusal: Rejected | None = None
        self._answered_by: Counter[str] = Counter()
        self.answers: list[tuple[Request, Completion]] = []

    async def find_accepted(self, asked: Sequence[Sequence[Request]]) -> Prompt:
        """Find out which of the settings that keep to the model's own distribution the endpoint takes, which seeds,
        and what it calls the longest response. The first questions are asked as the run will ask them.

        Args:
            asked (`Sequence[Sequence[Request]]`): a few questions, each as its request at the lowest temperature and,
                if there is another, the one at the highest.

        Returns:
            `Prompt`: one that is answered.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if it refuses all of them, or a gateway lets others answer.
        """
        for requests in asked:
            check_beginning(requests[0].prompt, self.endpoint.identity.protocol)
            if await self._takes(requests, self.endpoint.decoding):
                return requests[0].prompt
            accepted = None
            if self.endpoint.identity.protocol.kind != TGI:
                accepted = await self._widest(requests)
            if accepted is not None:
                self.endpoint.set_protocol(accepted=accepted)
                if await self._takes(requests, self.endpoint.decoding):
                    return requests[0].prompt
        raise HFDistillError(
            f"{self._named} refuses each of {len(asked)} questions: it {self._refusal}. Change what it names, or ask "
            "another endpoint"
        ) from self._refusal

    async def _widest(self, requests: Sequence[Request]) -> Accepted | None:
        """As much as can be sent with these requests; `None` if they are refused without anything."""
        known, accepted = self.endpoint.identity.protocol.takes, None
        for length in LENGTHS:
            if await self._takes(requests, self._short, replace(BARE, length=length), less=False):
                accepted = replace(BARE, length=length)
                break
        if accepted is None:
            return None
        wider: list[list[dict[str, Any]]] = [
            [{"stop": True}],
            [{"largest_seed": LARGEST_SEED}, {"largest_seed": 2**31 - 1}],
        ]
        for name, value in known.neutral.items():
            wider.append([{"neutral": {name: off}} for off in (TOP_K_OFF if name == "top_k" else (value,))])

        async def widest_of(spellings: list[dict[str, Any]]) -> dict[str, Any]:
            for fields in spellings:
                if await self._takes(requests, self._short, _wider(accepted, fields)):
                    return fields
            return {}

        taken = await asyncio.gather(*map(widest_of, wider))
        together = reduce(_wider, taken, accepted)
        if await self._takes(requests, self._short, together):
            return together
        for fields in filter(None, taken):  # some are not taken beside others
            if await self._takes(requests, self._short, tried := _wider(accepted, fields)):
                accepted = tried
        return accepted

    async def _takes(
        self, requests: Sequence[Request], decoding: Decoding, accepted: Accepted | None = None, less: bool = True
    ) -> bool:
        """Whether it answers; `less` says that less could be asked, so that what fails may be refused."""
        less = less and self.endpoint.identity.protocol.kind != TGI
        try:
            answers = await asyncio.gather(*(self._ask(request, decoding, accepted, less) for request in requests))
        except Rejected as refusal:
            self._refusal = refusal
            return False
        if accepted is None:
            self.answers = list(zip(requests, answers, strict=True))
        return True

    async def check_temperature(self, prompt: Prompt, drawn: bool) -> None:
        """Make sure that the server decodes greedily when asked to and samples when asked to.

        A greedy server would fill the whole grid with one answer, and nothing later would notice. Two responses at
        temperature 0 are compared with six at temperature 1, and, if the teacher is so sure of this prompt that they
        are all the same, with sixteen there and then sixteen at temperature 2; thoughts count, too.

        Args:
            prompt (`str` or `list[dict]`): one that is answered.
            drawn (`bool`): whether the run asks for more than greedy responses.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if it cannot vary the temperature from request to request.
        """
        greedy, warm = await asyncio.gather(self._texts(prompt, 0.0, 2), self._texts(prompt, 1.0, FEW if drawn else 0))
        if greedy[0] != greedy[1]:
            # Kernels may differ with the batch, so greedy texts may split; with six, some agree unless all are drawn.
            greedy += await self._texts(prompt, 0.0, 4)
            if len(set(greedy)) == len(greedy):
                raise self._unable("answers at temperature 0 were all different")
        if not drawn or {*warm} - {*greedy}:
            return
        for temperature in (1.0, 2.0):
            if {*await self._texts(prompt, temperature, MANY)} - {*greedy}:
                return
        raise self._unable("answers at temperatures 1 and 2 were the same as at temperature 0")

    def settle(self) -> None:
        """Note who answers here.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if there are several.
        """
        own = [name for name in self._answered_by if name not in self.endpoint.accept_models]
        if len(own) > 1:
            told = ", ".join(f"{name} ({count})" for name, count in self._answered_by.most_common())
            raise HFDistillError(
                f"{self._named} lets several models answer: {told}. Name one of them in teacher.served_model, or keep "
                "what the others answer by --teacher.accept_models"
            )
        self.endpoint.answers_as = own[0] if own else None

    async def _texts(self, prompt: Prompt, temperature: float, count: int) -> list[tuple[str, str | None]]:
        asked = [Request("", prompt, temperature, index, 1000 + index) for index in range(count)]
        try:
            answers = await asyncio.gather(*(self._ask(request, self._short) for request in asked))
        except Rejected as refusal:
            raise self._unable(
                f"refusal of temperature {temperature:g} ({refusal}) leaves none to compare"
            ) from refusal
        return [(answer.text, answer.thought) for answer in answers]

    async def _ask(
        self, request: Request, decoding: Decoding, accepted: Accepted | None = None, less: bool = False
    ) -> Completion:
        protocol = self.endpoint.identity.protocol
        protocol = replace(protocol, accepted=accepted or protocol.accepted)
        seed = request.seed if request.temperature else None
        body = protocol.body(request.prompt, request.temperature, seed, decoding)

        failures = 0

        async def exchange() -> tuple[Reply, Completion]:
            nonlocal failures
            try:
                answer = await self.endpoint.transport.post(protocol.route, body)
            except Faulty as trouble:
                failures += trouble.status == 500
                if not less or failures < FAILURES:
                    raise
                raise Rejected(str(trouble), trouble.status) from trouble
            return answer, protocol.read(answer.content, answer.headers, decoding)

        try:
            async with self._slots:
                answer, completion = await patiently(exchange, TRIES)
        except Rejected:
            raise
        except Gone as trouble:
            raise HFDistillError(f"endpoint {self.endpoint.url} {trouble}: {CHECK}") from trouble
        except Trouble as trouble:
            raise HFDistillError(f"{self._named} {trouble}: look into its log") from trouble
        if self._budget is not None:
            completion = self._budget.counted(request.prompt, completion)
            self._budget.count_beside(completion)
        if completion.fallback:
            raise HFDistillError(
                f"{self._named} answers by a fallback of its gateway, {completion.model or 'which has no name'}: wait "
                "until the model itself is back, or name that one in teacher.served_model"
            )
        if completion.model is not None:
            self._answered_by[completion.model] += 1
        if protocol.kind == TGI and "x-generated-tokens" in answer.headers:
            # Where headers say how many tokens there are, the list of them is needless.
            self.endpoint.set_protocol(details=False)
        return completion

    def _unable(self, what: str) -> HFDistillError:
        return HFDistillError(f"{self._named} {UNABLE}: its {what}. {OTHERS}")

    @property
    def _named(self) -> str:
        identity = self.endpoint.identity
        return f"endpoint {self.endpoint.url} ({identity.engine}, {identity.protocol.kind})"


def _wider(accepted: Accepted, fields: dict[str, Any]) -> Accepted:
    return replace(accepted, **{**fields, "neutral": {**accepted.neutral, **fields.get("neutral", {})}})


def requests_to_probe(plan: Plan, journal: Journal) -> list[list[Request]]:
    """Of a few questions from all over a plan the first request that is to be asked and, if there are others, the
    last. Where nothing is, what is there is asked once more.
    """
    missing = [question for question in plan.questions if plan.grid.keys - journal.keys(question.question_id).keys()]
    questions = missing or plan.questions
    asked = []
    for question in questions[:: max(len(questions) // QUESTIONS, 1)][:QUESTIONS]:
        there = journal.keys(question.question_id) if missing else {}
        requests = [request for request in plan.of(question) if (request.temperature, request.sample) not in there]
        asked.append(requests if len(requests) == 1 else [requests[0], requests[-1]])
    return asked


def findings(endpoint: Endpoint) -> dict[str, Any]:
    """What was found out about an endpoint, as JSON."""
    protocol = endpoint.identity.protocol
    accepted = protocol.accepted and asdict(protocol.accepted)
    return {"details": protocol.details, "accepted": accepted, "answers_as": endpoint.answers_as}


def restore(endpoint: Endpoint, found: dict[str, Any]) -> None:
    """Ask an endpoint as it was found out earlier."""
    accepted = found["accepted"] and Accepted(**found["accepted"])
    endpoint.set_protocol(details=found["details"], accepted=accepted)
    endpoint.answers_as = found["answers_as"]


def describe(protocol: Protocol) -> str:
    """What goes with every request, and what does not, in a line; empty where there is nothing to say."""
    takes, untried = protocol.takes, replace(protocol, accepted=None).takes
    if protocol.kind == TGI or takes == untried == Accepted({}):
        return ""
    sent = ", ".join(f"{name} {value:g}" for name, value in takes.neutral.items())
    refused = [name for name in untried.neutral if name not in takes.neutral]
    refused += [] if takes.stop else ["stop texts (cut on receipt)"]
    if not takes.largest_seed:
        refused.append("seeds (no sample of its can be drawn again)")
    elif takes.largest_seed < LARGEST_SEED:
        refused.append(f"seeds beyond {takes.largest_seed} (they are folded)")
    told = f"every request with {sent}" if sent else "no neutral settings to send"
    return told + (f"; not taken: {', '.join(refused)}" if refused else "")


def check_beginning(prompt: str | list[Message], protocol: Protocol) -> None:
    """Refuse a prompt that brings its own beginning-of-text token, since the server adds one."""
    for beginning in BEGINNINGS:
        if isinstance(prompt, str) and prompt.startswith(beginning):
            raise HFDistillError(
                f"the prompt starts with {beginning!r}, which a {protocol.kind} endpoint adds itself: the teacher "
                "would see it twice. Leave it out of the task's prompt, or use teacher.chat for a chat template"
            )
