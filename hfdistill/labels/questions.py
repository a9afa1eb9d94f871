"""Which questions a teacher is asked, which must not be among them, and which labels came with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..rows import read_rows
from ..tasks import Question, Task, load_task, task_section
from .references import golds_of


def questions_to_label(task: Task, max_questions: int | None = None) -> list[Question]:
    """The questions that a teacher is asked: training and validation, never test.

    Args:
        task ([`~hfdistill.tasks.base.Task`]): has the questions.
        max_questions (`int`, *optional*): only the first so many training questions, and validation questions in
            proportion.
    """
    train, validation = ([q for q in task.questions() if q.split == split] for split in ("train", "validation"))
    if max_questions is not None and max_questions < len(train):
        share = max_questions / len(train)
        train, validation = train[:max_questions], validation[: max(1, round(share * len(validation)))]
    return [*train, *validation]


def take_questions(task: Task, folder: str | Path, golds: bool = False) -> Task:
    """Give a task that has no questions of its own those of the labels, as every stage behind these does.

    Args:
        task ([`~hfdistill.tasks.base.Task`]): the run's.
        folder (`str` or `Path`): files of the labels.
        golds (`bool`, *optional*, defaults to `False`): their golds, too; evaluation alone asks for them.

    Returns:
        [`~hfdistill.tasks.base.Task`]: the same one.
    """
    if not task.has_questions:
        task.adopt([question_of(row) for row in read_rows(folder, "questions")], golds_of(folder) if golds else {})
    return task


def question_of(row: dict[str, Any]) -> Question:
    """The question of a row of the config `questions`."""
    options = row.get("options")
    known = {name: row[name] for name in ("question_id", "question", "split", "category")}
    return Question(**known, options=None if options is None else tuple(options))


def held_out(task: Task) -> list[Question]:
    """The test questions of a task: none of them may be trained on."""
    return [question for question in task.questions() if question.split == "test"]


def load_benchmarks(entries: Sequence[str | dict[str, Any]]) -> list[Task]:
    """Further tasks with their test questions at hand: called before anything is bought, since a benchmark that cannot
    be loaded is a mistake that should not wait for the end.

    Args:
        entries (`Sequence[str | dict]`): as [`~hfdistill.tasks.task_section`] reads them.
    """
    benchmarks = [load_task(task_section(entry)) for entry in entries]
    for benchmark in benchmarks:
        if not held_out(benchmark):
            raise HFDistillError(
                f"the benchmark {benchmark.name!r} has no test questions to compare the training questions with"
            )
    return benchmarks
