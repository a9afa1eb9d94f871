"""From a journal to the rows of the teacher's dataset."""

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

from ..config import Config
from ..tasks.base import Question, Task
from ..teacher.journal import Journal
from ..teacher.plan import Plan


ODD_FROM = 0.4
ODD_SHARE = 0.5


class ResponseRows:
    """The finished responses of a plan, sorted by question, temperature and sample; read anew at each iteration.

    A response that counts several times is that many rows, numbered on.

    Args:
        journal ([`~hfdistill.teacher.journal.Journal`]): holds them.
        plan ([`~hfdistill.teacher.plan.Plan`]): says which belong to the dataset.
        model (`str`): the teacher's name.
        endpoint_kind (`str`): of the endpoints that answered.
    """

    def __init__(self, journal: Journal, plan: Plan, model: str, endpoint_kind: str):
        self._journal, self._plan = journal, plan
        self._constant = {"model": model, "endpoint_kind": endpoint_kind}
        self._cells = {cell.temperature: cell for cell in plan.grid.cells}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for question in sorted(self._plan.questions, key=lambda question: question.question_id):
            for sample in self._journal.of(question.question_id):
                cell = self._cells.get(sample.temperature)
                if cell is None or sample.sample >= cell.samples:
                    continue
                for copy in range(cell.copies):
                    yield {
                        "question_id": sample.question_id,
                        "response": sample.text,
                        "temperature": sample.temperature,
                        "sample": sample.sample + copy,
                        "seed": sample.seed,
                        "confidence": cell.confidence,
                        "finish_reason": sample.finish_reason,
                        "prompt_tokens": sample.prompt_tokens,
                        "completion_tokens": sample.completion_tokens,
                        **self._constant,
                    }


def to_label(task: Task, max_questions: int | None = None) -> list[Question]:
    """The questions that a teacher is asked: training and validation, never test.

    Args:
        task ([`~hfdistill.tasks.base.Task`]): has the questions.
        max_questions (`int`, *optional*): only the first so many training questions, and validation questions in
            proportion.
    """
    splits = {name: [q for q in task.questions() if q.split == name] for name in ("train", "validation")}
    train, validation = splits["train"], splits["validation"]
    if max_questions is not None and max_questions < len(train):
        share = max_questions / len(train)
        train, validation = train[:max_questions], validation[: max(1, round(share * len(validation)))]
    return [*train, *validation]


def warn_of_duplicates(metrics: dict[str, Any]) -> None:
    """Say so when responses at high temperatures repeat: seeds or temperature may not have reached the model."""
    for temperature, row in metrics["by_temperature"].items():
        if float(temperature) >= ODD_FROM and (row["duplicates"] or 0.0) > ODD_SHARE:
            print(
                f"warning: {row['duplicates']:.0%} of the responses at temperature {temperature} repeat another one; "
                "check that the endpoint uses temperature and seed, unless the teacher is that sure",
                file=sys.stderr,
            )


def with_teacher(config: Config) -> Config:
    """The configuration with the teacher among what decides the artifact: another teacher makes another dataset."""
    asked = {"teacher": {"model": config.teacher.model, "chat": config.teacher.chat}}
    return dataclasses.replace(config, given={**config.given, **asked})
