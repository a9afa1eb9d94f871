"""The teacher asked while somebody waits: who it is, and a few answers. Nothing is kept."""

import asyncio
import sys
from dataclasses import replace
from typing import Any

from ..chat import Message
from ..errors import HFDistillError
from ..sections import TeacherConfig
from .endpoints import Identity, open_endpoints, patiently
from .protocols import Completion, Decoding
from .session import run_loop
from .transport import Trouble, on_hugging_face


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

        async def one() -> Completion:
            async with slots:
                return await patiently(lambda: endpoint.complete(prompt, temperature, None), teacher.tries)

        return list(await asyncio.gather(*(one() for _ in range(count))))


def identify(teacher: TeacherConfig) -> dict[str, Identity | HFDistillError]:
    """Who answers at each of the teacher's endpoints, or in a sentence why nobody does; none is asked twice."""

    async def one(url: str) -> Identity | HFDistillError:
        try:
            async with open_endpoints(replace(teacher, endpoints=[url]), Decoding(1)) as (endpoint,):
                return await endpoint.identify()
        except Trouble as trouble:
            return HFDistillError(f"endpoint {url} {trouble}")
        except HFDistillError as error:
            return error

    async def each() -> list[Identity | HFDistillError]:
        return await asyncio.gather(*map(one, teacher.endpoints))

    return dict(zip(teacher.endpoints, run_loop(each()), strict=True))


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
        if isinstance(found, HFDistillError):
            continue
        for name in ("model_id", "model_sha"):
            was, now = served.get(name), found.fingerprint()[name]
            if was and now and was != now:
                print(
                    f"warning: endpoint {url} serves {name} {now!r}, but {dataset} was made from {was!r}. To label "
                    "with what it serves now, give the run another name",
                    file=sys.stderr,
                )
