"""The teacher, asked live at an endpoint."""

from ..errors import HFDistillError
from ..sections import TeacherConfig
from ..tasks import Question
from ..teacher.now import answers_now
from ..teacher.protocols import Decoding
from ..teacher.transport import Busy, Trouble
from .models import ShownAnswer, read
from .run import ShownRun


SECONDS = 120.0  # a visitor waits no longer
TRIES = 3


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
    teacher = TeacherConfig(
        run.teacher_name,
        [url],
        chat=run.teacher_chat,
        api_key_env=run.settings.teacher_token_env,
        timeout=SECONDS,
        tries=TRIES,
    )
    decoding = Decoding(run.task.max_new_tokens, run.task.stop)
    try:
        completions = answers_now(
            teacher, decoding, run.task.prompt(question), temperature, samples if temperature > 0 else 1
        )
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
