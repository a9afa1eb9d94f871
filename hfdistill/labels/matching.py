"""Which of a task's questions a row of someone else's is about."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ..errors import HFDistillError
from ..tasks.base import SPLITS, Question, Task


# The reason why a row is rejected, a key of `REJECTIONS`, and a detail.
Problem = tuple[str, str]


class QuestionMatcher:
    """Finds the question of a row, by id or by text (white space apart) and options, or makes one where the task has
    none.

    Args:
        task ([`~hfdistill.tasks.base.Task`]): the rows'.

    Attributes:
        by_id (`dict[str, Question]`): the task's questions, or those that were made.
        golds (`dict[str, str]`): canonical gold answers that came with rows, by question id.
        bad_golds (`dict[str, str]`): questions whose golds cannot be used, and why: they have none.
    """

    def __init__(self, task: Task):
        self.task = task
        questions = task.questions()
        self.makes = not questions
        self.by_id: dict[str, Question] = {}
        self._by_text: dict[str, list[Question]] = {}
        for question in questions:
            self._add(question)
        self.golds: dict[str, str] = {}
        self.bad_golds: dict[str, str] = {}

    def _add(self, question: Question) -> None:
        self.by_id[question.question_id] = question
        self._by_text.setdefault(_squeezed(question.question), []).append(question)

    @cached_property
    def _by_prompt(self) -> dict[str, list[Question]]:
        """By what the student is asked, which some tools keep in place of the question."""
        found: dict[str, list[Question]] = {}
        for question in [] if self.makes else self.by_id.values():
            found.setdefault(_squeezed(self.task.prompt(question, shots=0)), []).append(question)
        return found

    def find(self, fields: dict[str, Any]) -> Question | Problem:
        """The question, or the reason and detail why there is none."""
        identity, text = fields.get("question_id"), fields.get("question")
        if identity is None and text is None:
            return "no_question", "neither question_id nor question"
        options = fields.get("options")
        if options is not None and not (isinstance(options, list) and options):
            return "no_options", f"options are {options!r}"[:200]
        wanted = None if options is None else tuple(map(str, options))
        found = self._known(identity, None if text is None else _squeezed(text), wanted)
        if found is None:
            found = self._make(fields, wanted) if self.makes else _unknown(identity, text)
        if self.makes and isinstance(found, Question) and fields.get("gold") is not None:
            self._learn_gold(found, fields["gold"])
        return found

    def _known(
        self, identity: str | None, squeezed: str | None, options: Sequence[str] | None
    ) -> Question | Problem | None:
        if identity in self.by_id:
            question = self.by_id[identity]
            if self.makes and squeezed and squeezed != _squeezed(question.question):
                return "repeated_id", f"{identity!r} is the id of {question.question!r}, too"[:200]
            return question
        if not squeezed:
            return None
        among = self._by_text.get(squeezed) or self._by_prompt.get(squeezed) or []
        if options is not None and (self.makes or len(among) > 1):
            among = [question for question in among if question.options == options]
        if len(among) > 1:
            return "several_questions", f"{len(among)} questions have the text {squeezed!r}"[:200]
        return among[0] if among else None

    def _make(self, fields: dict[str, Any], options: Sequence[str] | None) -> Question | Problem:
        identity, text, split = fields.get("question_id"), fields.get("question"), fields.get("split", "train")
        if not text or not text.strip():
            return _unknown(identity, text)
        if self.task.needs_options and options is None:
            return "no_options", "options are None"
        if split not in SPLITS:
            return "bad_split", repr(split)[:200]
        if identity is None:
            described = "\n".join([_squeezed(text), *(options or ())])
            identity = f"q-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
        question = self.task.question(text, split, identity, options, fields.get("category"))
        self._add(question)
        return question

    def _learn_gold(self, question: Question, value: object) -> None:
        """Keep the gold answer of a row, unless it is none, or another row of the question has a different one."""
        if question.question_id in self.bad_golds:
            return
        try:
            gold = self.task.read_gold(value, question)
        except HFDistillError as error:
            self.bad_golds[question.question_id] = str(error)
        else:
            known = self.golds.setdefault(question.question_id, gold)
            if known != gold and not self.task.same(known, gold):
                self.bad_golds[question.question_id] = f"its rows have the golds {known!r} and {gold!r}"
        if question.question_id in self.bad_golds:
            self.golds.pop(question.question_id, None)


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _unknown(identity: str | None, text: str | None) -> Problem:
    if text and text.strip():
        return "unknown_question", repr(text)[:200]
    if identity is None:
        return "no_question", "the question is blank"
    return "unknown_question", f"question_id {identity!r}, without a text; --requests names the requests of a batch"
