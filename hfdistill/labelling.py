"""From responses to the labelled dataset on disk, with the figures of the teacher's evaluation beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfdistill.evaluation.teacher_figures import TeacherStatistics, draw
from hfdistill.labelers.base import Labeler
from hfdistill.labels import labelled_dataset, write_dataset
from hfdistill.overlap import overlap
from hfdistill.progress import Progress
from hfdistill.tasks.base import Question, Task


def label_and_write(
    folder: str | Path,
    questions: Sequence[Question],
    responses: Iterable[Mapping[str, Any]],
    task: Task,
    labeler: Labeler,
    benchmarks: Sequence[Task] = (),
) -> dict[str, Any]:
    """
    Labels, writes `responses/`, `questions/`, `gold/` and `figures/*.png`, and gathers the figures on the way.

    Args:
        folder (`str` or `Path`): written into.
        questions, responses, task, labeler: as for [`~hfdistill.labels.labelled_dataset`].
        benchmarks (`Sequence[Task]`, *optional*): further tasks whose test questions must not be trained on.

    Returns:
        `dict`: what [`~hfdistill.evaluation.teacher_figures.teacher_statistics`] returns, and `overlap` of the
        training questions with the test questions of the task and of each benchmark.
    """
    # A vote takes seconds, a judge that waits on an endpoint may take hours.
    with Progress("judge", len(questions), "questions", enabled=labeler.reads_text) as progress:
        response_rows, question_rows = labelled_dataset(
            questions, responses, task, labeler=labeler, on_labelled=progress.update
        )
    golds = task.golds()
    statistics = TeacherStatistics(question_rows, golds, task.same)

    def counted() -> Iterator[dict[str, Any]]:
        for row in response_rows:
            statistics.add(row)
            yield row

    write_dataset(folder, counted(), question_rows, golds)
    figures = statistics.result()
    draw(figures, Path(folder) / "figures")
    trained = [question for question in questions if question.split == "train"]
    for tested_by in (task, *benchmarks) if trained else ():
        tested = [question for question in tested_by.questions() if question.split == "test"]
        if tested:
            figures.setdefault("overlap", {})[f"{tested_by.name} test"] = overlap(trained, tested)
    return figures
