"""Which questions a teacher is asked, and which must not be among them."""

from collections.abc import Sequence
from typing import Any

from ..errors import HFDistillError
from ..tasks import Question, Task, load_task, task_section


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
