"""The teacher, asked live at an endpoint."""

from dataclasses import replace

from ..errors import HFDistillError
from ..tasks import Question
from ..teacher.now import ask_now
from ..teacher.plan import teacher_prompts
from ..teacher.protocols import Decoding
from ..teacher.transport import Busy, Rejected, Trouble
from .models import ShownAnswer, read
from .run import ShownRun
from .visitors import NO_TEACHER, ForVisitors, log


SECONDS = 120.0
TOO_MUCH = (400, 413, 422)  # what a server says of a question that it will not read
REFUSED = "The teacher refuses this question; perhaps it is too long for it. The students answer without it."


async def ask_teacher(run: ShownRun, question: Question, temperature: float, samples: int) -> list[ShownAnswer]:
    """Put one question to the teacher's endpoint, with the prompt that labelled the run; at temperature 0 there is one
    answer.

    Raises:
        [`~hfdistill.space.visitors.ForVisitors`]: if the endpoint cannot be reached, is busy or refuses.
    """
    url = run.settings.teacher_endpoint
    # A visitor waits no longer.
    here = {"endpoints": [url], "api_key_env": run.settings.teacher_token_env, "timeout": SECONDS, "tries": 3}
    teacher = replace(run.teacher, **here)
    render, stop = teacher_prompts(teacher, run.task)
    decoding = Decoding(run.task.max_new_tokens, stop)
    count = samples if temperature > 0 else 1
    try:
        completions = await ask_now(teacher, decoding, render(question), temperature, count)
    except Busy as trouble:
        raise _unanswered(trouble, "The teacher is busy or still starting. Try again in a minute.") from trouble
    except Trouble as trouble:
        raise _unanswered(trouble, NO_TEACHER) from trouble
    except HFDistillError as error:
        cause = error.__cause__
        refused = isinstance(cause, Rejected) and cause.status in TOO_MUCH
        raise _unanswered(error, REFUSED if refused else NO_TEACHER) from error
    return [read(run.task, question, item.text, item.finish_reason != "length") for item in completions]


def _unanswered(error: Exception, words: str) -> ForVisitors:
    log(words, error)
    return ForVisitors(words)
