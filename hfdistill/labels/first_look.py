"""The teacher's first responses, looked at before the rest is bought."""

from collections.abc import Sequence

from ..errors import HFDistillError
from ..sections import TeacherConfig
from ..tasks.base import UNFINISHED, Question, Task
from ..teacher.journal import Journal
from .sampled import responses_of


LESS = "or have it think less (teacher.extra_body: {chat_template_kwargs: {enable_thinking: false}})"
SHOWN = 200  # characters of a response in a message


def look(journal: Journal, task: Task, questions: Sequence[Question], teacher: TeacherConfig) -> None:
    """Stop before money is spent on a teacher whose responses hold no answer, or none that it came to an end with.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if no response can be read, or, in conversations, each was cut off: what
            it then says may be a thought that its chat template opened.
    """
    of = responses_of(journal)
    asked = [(question, response) for question in questions for response in of(question.question_id)]
    if not asked:
        return
    answers = [task.extract(response.text, question) for question, response in asked]
    first = asked[0][1]
    if all(answer == UNFINISHED for answer in answers):
        end = (first.thought or first.text)[-SHOWN:]
        raise HFDistillError(
            f"each of the teacher's first {len(asked)} responses ends within a thought, the first one in {end!r}: "
            f"raise label.max_new_tokens, {LESS}"
        )
    if not any(answer.value for answer in answers):
        raise HFDistillError(
            f"none of the teacher's first {len(asked)} responses holds a final answer that task {task.name!r} can "
            f"read, so nothing could be labelled. The first one ends in {first.text[-SHOWN:]!r}: check task.shots, "
            "teacher.chat and label.max_new_tokens"
        )
    if teacher.chat and all(response.finish_reason == "length" for _, response in asked):
        raise HFDistillError(
            f"each of the teacher's first {len(asked)} responses was cut off, the first one at "
            f"{first.text[-SHOWN:]!r}: raise label.max_new_tokens, {LESS}"
        )
