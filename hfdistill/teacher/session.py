"""A sampling session from a run's configuration: endpoints, journal, first look, limits, and what came of it."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from ..config import TeacherConfig
from ..errors import HFDistillError
from ..labels.config import LabelConfig
from ..progress import Progress
from ..tasks.base import Question, Task
from .board import Outcome, count_there
from .budget import Budget
from .endpoints import Endpoint, Identity, same_model
from .journal import Journal, Response
from .plan import Grid, Plan
from .protocols import Decoding
from .sampler import Sampler
from .sync import PartialSync
from .transport import Trouble, on_hugging_face


STARTING = (429, 502, 503, 504)  # what a server that is loading, or the gateway before it, answers
AT_ONCE = 3.0  # seconds


def run_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the fastest event loop there is."""
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def collect(
    journal: Journal,
    teacher: TeacherConfig,
    settings: LabelConfig,
    plan: Plan,
    decoding: Decoding,
    look: Callable[[Journal], None] | None = None,
    sync: PartialSync | None = None,
    stage: str = "label",
    show: bool = True,
) -> dict[str, Any]:
    """Fill a journal with every response of a plan.

    A journal that is complete already needs no endpoint.

    Args:
        journal ([`~hfdistill.teacher.journal.Journal`]): where responses are kept; opened without a fingerprint.
        teacher ([`~hfdistill.sections.TeacherConfig`]): where to ask, limits, patience and prices.
        settings ([`~hfdistill.labels.config.LabelConfig`]): the first look, and what may be missing.
        plan ([`~hfdistill.teacher.plan.Plan`]): what to ask.
        decoding ([`~hfdistill.teacher.protocols.Decoding`]): how.
        look (`Callable[[Journal], None]`, *optional*): examines the first responses before the rest is bought; raises
            to stop.
        sync ([`~hfdistill.teacher.sync.PartialSync`], *optional*): shares the journal's rows with other machines.
        stage (`str`, *optional*, defaults to `"label"`): name of the progress.
        show (`bool`, *optional*, defaults to `True`): whether to show progress.

    Returns:
        `dict[str, Any]`: `model_id`, `model_sha`, `engine` and `endpoint_kind` of who answered; `missing`; and `cost`,
        what it took.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if no endpoint does what is needed, a limit was reached, or responses are
            missing in the end.
    """
    wanted = {
        "prompts": plan.prompts_digest(),
        "max_new_tokens": decoding.max_new_tokens,
        "stop": list(decoding.stop),
        "top_p": decoding.top_p,
        "top_k": decoding.top_k,
        "chat": teacher.chat,
        "seed": plan.seed,
    }
    if sync is not None:
        sync.restore(journal, wanted)
    if settings.retry_failed:
        journal.retry_failed()
    found = journal.note("fingerprint") or {}
    if found.items() >= wanted.items() and sum(count_there(plan, journal).values()) == len(plan):
        return {**_who(found), "missing": 0, "cost": _budget(journal, teacher, 0).figures()}
    outcome, budget = run_loop(_collect(journal, wanted, teacher, settings, plan, decoding, look, sync, stage, show))
    _judge(outcome, plan, journal, settings)
    return {**_who(journal.note("fingerprint")), "missing": outcome.missing, "cost": budget.figures()}


async def _collect(
    journal: Journal,
    wanted: dict[str, Any],
    teacher: TeacherConfig,
    settings: LabelConfig,
    plan: Plan,
    decoding: Decoding,
    look: Callable[[Journal], None] | None,
    sync: PartialSync | None,
    stage: str,
    show: bool,
) -> tuple[Outcome, Budget]:
    endpoints = open_endpoints(teacher, decoding, teacher.timeout)
    try:
        await prepare(endpoints, teacher.patience)
        ready = {endpoint.url: endpoint.identity for endpoint in endpoints if endpoint.identity}
        journal.claim({**same_model(ready), **wanted})
        await _probe([endpoint for endpoint in endpoints if endpoint.identity], journal, plan)
        budget = _budget(journal, teacher, len(endpoints))
        sampler = Sampler(endpoints, journal, budget, teacher.concurrency, teacher.tries, teacher.patience)
        done = sum(count_there(plan, journal).values())
        if show:
            print(_description(endpoints, done, len(plan)), flush=True)
        if look is not None:
            outcome = await sampler.run(plan.first_look(settings.first_look))
            if outcome.stopped:
                return outcome, budget
            look(journal)
        sharing = asyncio.create_task(sync.keep_pushing(journal)) if sync is not None else None
        try:
            done = sum(count_there(plan, journal).values())
            with Progress(stage, len(plan), "responses", done, enabled=show) as progress:
                return await sampler.run(plan, progress), budget
        finally:
            if sharing is not None:
                sharing.cancel()
                await asyncio.gather(sharing, return_exceptions=True)
    finally:
        await asyncio.gather(*(endpoint.close() for endpoint in endpoints))


def _description(endpoints: list[Endpoint], done: int, planned: int) -> str:
    identity = next(endpoint.identity for endpoint in endpoints if endpoint.identity)
    revision = f" at {identity.model_sha[:12]}" if identity.model_sha else ""
    return (
        f"{identity.model_id}{revision} answers by {identity.engine} at {len(endpoints)} endpoint(s); "
        f"{done:,} of {planned:,} responses are there"
    )


def open_endpoints(teacher: TeacherConfig, decoding: Decoding, timeout: float) -> list[Endpoint]:
    """The configuration's endpoints; nothing is sent yet. Needs a running event loop."""
    if not teacher.endpoints:
        raise HFDistillError(
            "teacher.endpoints is empty: name the base URL of at least one TGI or OpenAI-style server"
        )
    return [
        Endpoint(url, decoding, teacher.model, teacher.kind, teacher.chat, teacher.api_key_env, timeout)
        for url in dict.fromkeys(teacher.endpoints)
    ]


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
            raise HFDistillError(f"{reasons}{waited}: check teacher.endpoints, the servers and their token")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 15.0)
    for url, trouble in troubles.items():
        print(f"warning: endpoint {url} {trouble}; going on without it until it is back", file=sys.stderr)


def warn_of_another_model(teacher: TeacherConfig, served: dict[str, Any], dataset: str) -> None:
    """Say so where an endpoint serves another model under the teacher's name than a finished dataset was made from.

    Endpoints that do not answer at once are left alone, and Hugging Face's are not asked: that could start one that
    costs money.

    Args:
        teacher ([`~hfdistill.config.TeacherConfig`]): its endpoints.
        served (`dict`): `model_id` and `model_sha` of who answered then.
        dataset (`str`): its name.
    """

    async def identify(url: str) -> Identity:
        endpoint = Endpoint(url, Decoding(1), teacher.model, teacher.kind, teacher.chat, teacher.api_key_env, AT_ONCE)
        try:
            return await endpoint.identify()
        finally:
            await endpoint.close()

    async def identify_all() -> list[Any]:
        return await asyncio.gather(*map(identify, urls), return_exceptions=True)

    urls = [url for url in teacher.endpoints if not on_hugging_face(url)]
    for url, found in zip(urls, run_loop(identify_all()), strict=True):
        if isinstance(found, (Trouble, HFDistillError)):
            continue
        if isinstance(found, BaseException):
            raise found
        for name in ("model_id", "model_sha"):
            was, now = served.get(name), found.fingerprint()[name]
            if was and now and was != now:
                print(
                    f"warning: endpoint {url} serves {name} {now!r}, but {dataset} was made from {was!r}. To label "
                    "with what it serves now, give the run another name",
                    file=sys.stderr,
                )


async def _probe(endpoints: list[Endpoint], journal: Journal, plan: Plan) -> None:
    """Probe each endpoint once; an endpoint that passed needs no second probe when the run goes on later."""
    prompt = plan.of(plan.questions[0])[0].prompt

    async def probe(endpoint: Endpoint) -> None:
        key = f"probed {endpoint.url} {endpoint.identity.engine}"
        if (details := journal.note(key)) is not None:
            endpoint.set_details(details)
            return
        await endpoint.probe(prompt)
        journal.set_note(key, endpoint.identity.protocol.details)

    await asyncio.gather(*(probe(endpoint) for endpoint in endpoints))


def _budget(journal: Journal, teacher: TeacherConfig, endpoints: int) -> Budget:
    return Budget(
        journal,
        endpoints,
        teacher.max_requests,
        teacher.max_cost,
        teacher.gpu_hour_price,
        teacher.input_price,
        teacher.output_price,
    )


def _judge(outcome: Outcome, plan: Plan, journal: Journal, settings: LabelConfig) -> None:
    if outcome.stopped == "interrupted":
        raise KeyboardInterrupt
    if outcome.stopped:
        raise HFDistillError(
            f"stopped at {outcome.stopped} with {outcome.missing} of {len(plan)} responses left: raise it and run the "
            "same command, which goes on from here"
        )
    if outcome.missing > settings.max_missing * len(plan):
        reasons = "; ".join(f"{count} times: {reason}" for reason, count in journal.reasons())
        raise HFDistillError(
            f"{outcome.missing} of {len(plan)} responses could not be had ({reasons}). --retry_failed true asks for "
            "them again; --max_missing publishes without them"
        )


def _who(fingerprint: dict[str, Any]) -> dict[str, Any]:
    return {name: fingerprint[name] for name in ("model_id", "model_sha", "engine", "endpoint_kind")}


def answer_greedily(
    teacher: TeacherConfig, task: Task, questions: Sequence[Question], folder: str | Path, stage: str = "teacher"
) -> list[Response]:
    """The teacher's answer to each question at temperature 0, for evaluation.

    Args:
        teacher ([`~hfdistill.config.TeacherConfig`]): where to ask.
        task ([`~hfdistill.tasks.base.Task`]): renders the prompts.
        questions (`Sequence[Question]`): what to ask.
        folder (`str` or `Path`): gets the journal; what is in it already is not asked for again.
        stage (`str`, *optional*, defaults to `"teacher"`): name of the progress.

    Returns:
        `list[Response]`: in the order of the questions.
    """
    plan = Plan(questions, task.prompt, Grid([0.0], 1))
    with Journal(Path(folder) / f"{task.name}.sqlite") as journal:
        collect(journal, teacher, LabelConfig(), plan, Decoding(task.max_new_tokens, task.stop), stage=stage)
        return [journal.of(question.question_id)[0] for question in questions]
