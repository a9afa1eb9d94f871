"""The teacher, asked live at an endpoint."""

import asyncio

from ..errors import HFDistillError
from ..tasks import Question
from ..teacher.endpoints import Endpoint
from ..teacher.protocols import Completion, Decoding
from ..teacher.transport import Busy, Trouble
from .models import ShownAnswer, read
from .run import ShownRun


SECONDS = 120.0  # a visitor waits no longer


def ask_teacher(run: ShownRun, question: Question, temperature: float = 0.0, samples: int = 1) -> list[ShownAnswer]:
    """Put one question to the teacher's endpoint, with the prompt that labelled the run.

    Args:
        run ([`~hfdistill.space.run.ShownRun`]): its settings name the endpoint.
        question ([`~hfdistill.tasks.Question`]): what to ask.
        temperature (`float`, *optional*, defaults to 0): 0 is greedy, and then there is one answer.
        samples (`int`, *optional*, defaults to 1): answers to draw at a temperature above 0.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the endpoint cannot be reached, is busy or refuses.
    """
    url = run.settings.teacher_endpoint
    try:
        completions = asyncio.run(_ask(run, question, temperature, samples if temperature > 0 else 1))
    except Busy as trouble:
        raise HFDistillError(
            f"The teacher's endpoint {url} is busy or still starting ({trouble}). Try again in a minute."
        ) from trouble
    except Trouble as trouble:
        raise HFDistillError(
            f"The teacher's endpoint {url} {trouble}. The students below answer without it; the owner of this page "
            "sets the endpoint in TEACHER_ENDPOINT."
        ) from trouble
    return [read(run.task, question, item.text, item.finish_reason != "length") for item in completions]


async def _ask(run: ShownRun, question: Question, temperature: float, samples: int) -> list[Completion]:
    endpoint = Endpoint(
        run.settings.teacher_endpoint,
        Decoding(run.task.max_new_tokens, run.task.stop),
        model=run.teacher_name,
        chat=run.teacher_chat,
        api_key_env=run.settings.teacher_token_env,
        timeout=SECONDS,
    )
    try:
        endpoint.identity = await endpoint.identify()
        prompt = run.task.prompt(question)
        return list(await asyncio.gather(*(endpoint.complete(prompt, temperature, None) for _ in range(samples))))
    finally:
        await endpoint.close()
