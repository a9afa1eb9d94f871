"""A sampling session from a run's configuration: endpoints, journal, first look, limits, and what came of it."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..progress import Progress
from ..sections import TeacherConfig
from .board import Outcome, count_there
from .budget import Budget
from .endpoints import Endpoint, Identity, open_endpoints, same_model
from .journal import Journal
from .plan import Plan
from .probing import Probing, describe, findings, requests_to_probe, restore
from .protocols import Decoding
from .responses import answered
from .sampler import Sampler
from .shards import take_shards
from .sync import PartialSync
from .tempo import Tempo
from .transport import CHECK, Trouble


STARTING = (429, 502, 503, 504)  # what a server that is loading, or the gateway before it, answers


def run_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the fastest event loop there is."""
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def collect(
    journal: Journal,
    teacher: TeacherConfig,
    plan: Plan,
    decoding: Decoding,
    *,
    look: Callable[[Journal], None] | None = None,
    first_look: int = 20,
    max_missing: float = 0.0,
    retry_failed: bool = False,
    growing: bool = False,
    probe: bool = True,
    sync: PartialSync | None = None,
    shards: Path | None = None,
    stage: str = "label",
    show: bool = True,
) -> dict[str, Any]:
    """Fill a journal with every response of a plan.

    A journal that is complete already needs no endpoint.

    Args:
        journal ([`~hfdistill.teacher.journal.Journal`]): where responses are kept; opened without a fingerprint.
        teacher ([`~hfdistill.sections.TeacherConfig`]): where to ask, limits, patience and prices.
        plan ([`~hfdistill.teacher.plan.Plan`]): what to ask.
        decoding ([`~hfdistill.teacher.protocols.Decoding`]): how.
        look (`Callable[[Journal], None]`, *optional*): examines the first responses before the rest is bought; raises
            to stop.
        first_look (`int`, *optional*, defaults to 20): questions whose first response it examines.
        max_missing (`float`, *optional*, defaults to 0): share of the responses that may be missing in the end.
        retry_failed (`bool`, *optional*, defaults to `False`): ask again for what failed in an earlier call.
        growing (`bool`, *optional*, defaults to `False`): whether another call may ask for other prompts; then each
            `question_id` must be made of its prompt.
        probe (`bool`, *optional*, defaults to `True`): make sure that the temperature is heeded. What an endpoint
            takes of a request is found out in any case.
        sync ([`~hfdistill.teacher.sync.PartialSync`], *optional*): shares the journal's rows with other machines.
        shards (`Path`, *optional*): folder whose shards are taken first, see [`~hfdistill.teacher.shards`].
        stage (`str`, *optional*, defaults to `"label"`): name of the progress.
        show (`bool`, *optional*, defaults to `True`): whether to show progress.

    Returns:
        `dict[str, Any]`: `model_id`, `model_sha`, `engine` and `endpoint_kind` of who answered; `missing`; and `cost`,
        what it took.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if no endpoint does what is needed, a limit was reached, or responses are
            missing in the end.
    """
    wanted = {**vars(decoding), "stop": list(decoding.stop), "chat": teacher.chat, "seed": plan.seed}
    if not growing:
        wanted["prompts"] = plan.prompts_digest()
    if teacher.extra_body:
        wanted["extra_body"] = teacher.extra_body
    with sync.sharing(journal, wanted) if sync is not None else nullcontext():
        if shards is not None:
            take_shards(shards, journal, wanted)
        if retry_failed:
            journal.retry_failed()
        for model in teacher.accept_models:
            journal.take_back(model)
        found = journal.note("fingerprint") or {}
        if found.items() >= wanted.items() and sum(count_there(plan, journal).values()) == len(plan):
            return {**_who(found), "missing": 0, "cost": Budget(journal, teacher, 0).figures()}
        first = (plan.first_look(first_look), look) if look is not None else None
        told = stage if show else None
        outcome, budget = run_loop(_ask(journal, teacher, plan, decoding, wanted, first, probe, sync, told))
    _check_outcome(outcome, plan, journal, max_missing, retry_failed)
    _tell_of_others(journal)
    return {**_who(journal.note("fingerprint")), "missing": outcome.missing, "cost": budget.figures()}


async def _ask(
    journal: Journal,
    teacher: TeacherConfig,
    plan: Plan,
    decoding: Decoding,
    wanted: dict[str, Any],
    first: tuple[Plan, Callable[[Journal], None]] | None,
    probe: bool,
    sync: PartialSync | None,
    stage: str | None,
) -> tuple[Outcome, Budget]:
    """Find out who answers, look at the first responses, and ask for all the others. Nothing is shown without a
    `stage`.
    """
    async with open_endpoints(teacher, decoding) as endpoints:
        await prepare(endpoints, teacher.patience)
        _claim(journal, endpoints, teacher, wanted)
        budget = Budget(journal, teacher, len(endpoints), decoding.max_new_tokens)
        if not budget.exhausted(0):
            await _probe([e for e in endpoints if e.identity], journal, plan, teacher, budget, probe)
        sampler = Sampler(endpoints, journal, budget, teacher.concurrency, teacher.tries, teacher.patience)
        if stage is not None:
            print(_description(endpoints, sum(count_there(plan, journal).values()), len(plan)), flush=True)
        if first is not None:
            outcome = await sampler.run(first[0])
            if outcome.stopped:
                return outcome, budget
            first[1](journal)
        done = sum(count_there(plan, journal).values())
        async with _pushing(sync, journal, sampler):
            with Progress(stage or "", len(plan), "responses", done, enabled=stage is not None) as progress:
                return await sampler.run(plan, progress), budget


def _claim(journal: Journal, endpoints: list[Endpoint], teacher: TeacherConfig, wanted: dict[str, Any]) -> None:
    """Make sure that the journal is of the model that answers now and of what is asked, and go on at the tempos that
    it knows.
    """
    ready = {endpoint.url: endpoint.identity for endpoint in endpoints if endpoint.identity}
    journal.claim({**_one_model(ready, teacher, journal.note("fingerprint") or {}), **wanted})
    for endpoint in endpoints:
        endpoint.transport.tempo = Tempo(journal.note(f"tempo of {endpoint.url}"))


@asynccontextmanager
async def _pushing(sync: PartialSync | None, journal: Journal, sampler: Sampler) -> AsyncIterator[None]:
    """Push what arrives meanwhile; losing the claim to it ends the sampling."""
    if sync is None:
        yield
        return
    pushing = asyncio.create_task(sync.keep_pushing(journal))
    pushing.add_done_callback(sampler.end_with)
    try:
        yield
    finally:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)


def _check_outcome(outcome: Outcome, plan: Plan, journal: Journal, max_missing: float, retry_failed: bool) -> None:
    """Raise what a run that did not get everything ends with."""
    if outcome.stopped == "interrupted":
        raise KeyboardInterrupt
    if outcome.stopped:
        left = len(plan) - sum(count_there(plan, journal).values())
        raise HFDistillError(
            f"stopped at {outcome.stopped} with {left} of {len(plan)} responses left: raise it and run the "
            "same command, which goes on from here"
        )
    if outcome.missing > max_missing * len(plan):
        reasons = "; ".join(f"{count} times: {reason}" for reason, count in journal.reasons())
        again = (
            "The same command asks for them again"
            if retry_failed
            else "--retry_failed true asks for them again; --max_missing publishes without them"
        )
        raise HFDistillError(f"{outcome.missing} of {len(plan)} responses could not be had ({reasons}). {again}")


def _one_model(ready: dict[str, Identity], teacher: TeacherConfig, found: dict[str, Any]) -> dict[str, Any]:
    """The fingerprint of the model that answers; others that are accepted leave it as it was."""
    own = {url: identity for url, identity in ready.items() if not identity.is_one_of(teacher.accept_models)}
    who = same_model(own or ready)
    return who if own else who | {name: found.get(name, who[name]) for name in ("model_id", "model_sha")}


def _description(endpoints: list[Endpoint], done: int, planned: int) -> str:
    ready = [endpoint for endpoint in endpoints if endpoint.identity]
    identity = ready[0].identity
    told = f"{identity.named} answers by {identity.engine} at {len(endpoints)} endpoint(s)"
    names = {endpoint.answers_as for endpoint in ready} - {None, identity.model_id}
    told += f" as {', '.join(sorted(names))}" if names else ""
    asked = dict.fromkeys(describe(endpoint.identity.protocol) for endpoint in ready)
    return "".join([*(f"{line}\n" for line in asked if line), f"{told}; {done:,} of {planned:,} responses are there"])


def _tell_of_others(journal: Journal) -> None:
    """Name the models whose answers were set apart, and the systems that answered where they are several."""
    if apart := journal.apart():
        told = ", ".join(f"{model} ({count})" for model, count in apart.items())
        print(f"warning: answers by other models were set apart, and asked for again: {told}", file=sys.stderr)
    if len(engines := journal.engines()) > 1:
        told = ", ".join(f"{engine} ({count})" for engine, count in engines.items())
        print(f"warning: the responses come from several systems: {told}", file=sys.stderr)


async def prepare(endpoints: list[Endpoint], patience: float) -> None:
    """Find out who answers at every endpoint.

    While none is ready and at least one is starting, it waits. As soon as one is ready the run may begin: the others
    join when they can.

    Args:
        endpoints (`list[Endpoint]`): those that are not ready in the end have no `identity`.
        patience (`float`): seconds to wait.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if no endpoint answers, or one is not what this run needs.
    """
    end, pause = time.monotonic() + patience, 1.0
    while True:
        found = await asyncio.gather(*(endpoint.prepare() for endpoint in endpoints), return_exceptions=True)
        troubles = {e.url: trouble for e, trouble in zip(endpoints, found, strict=True) if trouble is not None}
        for trouble in troubles.values():
            if not isinstance(trouble, Trouble):
                raise trouble
        if len(troubles) < len(endpoints):
            break
        starting = any(trouble.status in STARTING for trouble in troubles.values())
        if not starting or time.monotonic() + pause > end:
            reasons = "; ".join(f"endpoint {url} {trouble}" for url, trouble in troubles.items())
            waited = f" for {patience:g} s" if starting else ""
            raise HFDistillError(f"{reasons}{waited}: {CHECK}")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 15.0)
    for url, trouble in troubles.items():
        print(f"warning: endpoint {url} {trouble}; going on without it until it is back", file=sys.stderr)


async def _probe(
    endpoints: list[Endpoint],
    journal: Journal,
    plan: Plan,
    teacher: TeacherConfig,
    budget: Budget,
    temperatures: bool,
) -> None:
    """Probe each endpoint once; an endpoint that passed needs no second probe when the run goes on later."""

    asked = requests_to_probe(plan, journal)

    async def probe(place: int, endpoint: Endpoint) -> None:
        key = f"asked as {endpoint.url} {endpoint.identity.engine} {endpoint.identity.protocol.kind}"
        if (found := journal.note(key)) is not None:
            restore(endpoint, found)
            return
        probing = Probing(endpoint, teacher.concurrency, budget)
        first = place % len(asked)  # no two endpoints are asked the same
        prompt = await probing.find_accepted([*asked[first:], *asked[:first]])
        if temperatures:
            await probing.check_temperature(prompt, drawn=plan.grid.cells[-1].temperature > 0)
        probing.settle()
        for request, completion in probing.answers:
            # Another endpoint may have been asked the same, where there are few questions.
            if (request.temperature, request.sample) not in journal.keys(request.question_id):
                journal.add([answered(endpoint, request, completion, endpoint.another(completion))])
                budget.take_in(completion)
        budget.save()
        journal.set_note(key, findings(endpoint))

    await asyncio.gather(*(probe(*numbered) for numbered in enumerate(endpoints)))


def _who(fingerprint: dict[str, Any]) -> dict[str, Any]:
    return {name: fingerprint[name] for name in ("model_id", "model_sha", "engine", "endpoint_kind")}
