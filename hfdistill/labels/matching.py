"""Which of a task's questions a row of someone else's is about."""

import hashlib
from collections.abc import Callable
from typing import Any

from ..tasks.base import Question


class QuestionMatcher:
    """Finds the question of a row, by id or by text (white space apart).

    Args:
        questions (`list[Question]`): the task's.
        make (`Callable`, *optional*): makes a question out of a text, an id and options, for a task without questions
            of its own.
        needs_options (`bool`): whether a question made out of a row needs them.
    """

    def __init__(
        self, questions: list[Question], make: Callable[..., Question] | None = None, needs_options: bool = False
    ):
        self.by_id = {question.question_id: question for question in questions}
        self.by_text = {" ".join(question.question.split()): question for question in questions}
        self.make = make
        self.needs_options = needs_options

    def find(self, fields: dict[str, Any]) -> Question | tuple[str, str]:
        """The question, or the reason and detail why there is none."""
        identity, text = fields.get("question_id"), fields.get("question")
        if identity is None and text is None:
            return "no_question", "neither question_id nor question"
        squeezed = " ".join(text.split()) if text is not None else None
        if identity is not None and identity in self.by_id:
            return self.by_id[identity]
        if squeezed is not None and squeezed in self.by_text and (identity is None or self.make is None):
            return self.by_text[squeezed]
        if self.make is None or not squeezed:
            return "unknown_question", f"question_id {identity!r}" if identity is not None else repr(text)[:200]
        options = fields.get("options")
        if self.needs_options if options is None else not (isinstance(options, list) and options):
            return "no_options", f"options are {options!r}"[:200]
        digest = hashlib.sha256(squeezed.encode()).hexdigest()[:16]
        question = self.make(text, "train", identity if identity is not None else f"q-{digest}", options)
        self.by_id[question.question_id] = question
        self.by_text[squeezed] = question
        return question
