"""The teacher asked while somebody waits: who it is, and a few answers. Nothing is kept."""

import asyncio
import sys
from dataclasses import replace
from typing import Any

from ..chat import Message
from ..errors import HFDistillError
from ..sections import TeacherConfig
from .endpoints import TRANSFORMERS_SERVE, Identity, open_endpoints, patiently, same_model
from .plan import Request
from .probing import OTHERS, UNABLE, Probing
from .protocols import Completion, Decoding
from .session import run_loop
from .transport import Faulty, Rejected, Trouble, on_hugging_face


async def ask_now(
    teacher: TeacherConfig, decoding: Decoding, prompt: str | list[Message], temperature: float = 0.0, count: int = 1
) -> list[Completion]:
    """A few answers to one prompt, from the teacher's first endpoint; who cancels it closes its connections.

    Args:
        teacher ([`~hfdistill.sections.TeacherConfig`]): where to ask, how often, how many at a time.
        decoding ([`~hfdistill.teacher.protocols.Decoding`]): how.
        prompt (`str` or `list[dict]`): what to ask.
        temperature (`float`, *optional*, defaults to 0): 0 is greedy.
        count (`int`, *optional*, defaults to 1): answers.

    Raises:
        [`~hfdistill.teacher.transport.Trouble`]: if an answer cannot be had; its kind says why.
        [`~hfdistill.errors.HFDistillError`]: if the server is of no known kind.
    """
    async with open_endpoints(teacher, decoding) as endpoints:
        endpoint = endpoints[0]
        endpoint.identity = await patiently(endpoint.identify, teacher.tries)
        slots = asyncio.Semaphore(teacher.concurrency or endpoint.identity.limit or count)

        async def ask() -> Completion:
            completion = await endpoint.complete(prompt, temperature, None)
            if (other := endpoint.another(completion)) and other not in teacher.accept_models:
                raise Faulty(f"was answered by {other!r}")
            return completion

        async def one() -> Completion:
            async with slots:
                return await patiently(ask, teacher.tries)

        try:
            return list(await asyncio.gather(*(one() for _ in range(count))))
        except Rejected:  # for a setting that it does not take, perhaps
            probing = Probing(endpoint, teacher.concurrency)
            await probing.find_accepted([[Request("", prompt, temperature, 0, None)]])
            return list(await asyncio.gather(*(one() for _ in range(count))))


def identify(teacher: TeacherConfig) -> dict[str, Identity | Trouble | HFDistillError]:
    """Who answers at each of the teacher's endpoints, or why nobody does, or why no run could use it; none is asked
    twice.
    """

    async def one(url: str) -> Identity | Trouble | HFDistillError:
        try:
            async with open_endpoints(replace(teacher, endpoints=[url]), Decoding(1)) as (endpoint,):
                found = await endpoint.identify()
        except (Trouble, HFDistillError) as error:
            return error
        if found.protocol.engine == TRANSFORMERS_SERVE:
            return HFDistillError(f"endpoint {url} is `{TRANSFORMERS_SERVE}`, which {UNABLE}. {OTHERS}")
        return found

    async def each() -> list[Identity | Trouble | HFDistillError]:
        return await asyncio.gather(*map(one, teacher.endpoints))

    return dict(zip(teacher.endpoints, run_loop(each()), strict=True))


def say_of_endpoints(teacher: TeacherConfig, seconds: float, of_a_run: bool = True) -> list[tuple[bool | None, str]]:
    """A sentence on each of the teacher's endpoints, as a run would find them, and whether it is good.

    Args:
        teacher ([`~hfdistill.sections.TeacherConfig`]): its endpoints.
        seconds (`float`): that each may take.
        of_a_run (`bool`, *optional*, defaults to `True`): whether they belong to one run. Then they have to serve one
            model; and Hugging Face's are not asked, which is neither good nor bad: that could start one that costs
            money.
    """
    asked = [url for url in teacher.endpoints if not (of_a_run and on_hugging_face(url))]
    found = identify(replace(teacher, endpoints=asked, timeout=seconds)) if asked else {}
    said: list[tuple[bool | None, str]] = []
    for url in teacher.endpoints:
        who = found.get(url)
        if who is None:
            said.append((None, f"endpoint {url}: not asked, since that could start it"))
        elif isinstance(who, Identity):
            said.append((True, f"endpoint {url} serves {who.named} by {who.engine}"))
        else:
            said.append((False, str(who) if isinstance(who, HFDistillError) else f"endpoint {url} {who}"))
    ready = {url: who for url, who in found.items() if isinstance(who, Identity)}
    try:
        if of_a_run and ready:
            same_model(ready)
    except HFDistillError as error:
        said.append((False, str(error)))
    return said


def warn_of_another_model(teacher: TeacherConfig, served: dict[str, Any], dataset: str) -> None:
    """Say so where an endpoint serves another model under the teacher's name than a finished dataset was made from.

    Endpoints that do not answer in three seconds are left alone, and Hugging Face's are not asked: that could start
    one that costs money.

    Args:
        teacher ([`~hfdistill.sections.TeacherConfig`]): its endpoints.
        served (`dict`): `model_id` and `model_sha` of who answered then.
        dataset (`str`): its name.
    """
    urls = [url for url in teacher.endpoints if not on_hugging_face(url)]
    for url, found in identify(replace(teacher, endpoints=urls, timeout=3.0)).items():
        if not isinstance(found, Identity):
            continue
        for name in ("model_id", "model_sha"):
            was, now = served.get(name), found.fingerprint()[name]
            if was and now and was != now:
                print(
                    f"warning: endpoint {url} serves {name} {now!r}, but {dataset} was made from {was!r}. To label "
                    "with what it serves now, give the run another name",
                    file=sys.stderr,
                )
