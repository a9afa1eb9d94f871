"""From responses to the labelled dataset on disk, with the figures of the teacher's evaluation beside it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..sections import TeacherConfig
from ..tasks import Question, Task, distinct_names
from .dataset import labelled_dataset, write_dataset
from .labeler import Labeler
from .overlap import overlap
from .plots import draw
from .questions import held_out
from .statistics import LabelStatistics


def label_and_write(
    folder: str | Path,
    questions: Sequence[Question],
    responses: Iterable[Mapping[str, Any]],
    task: Task,
    labeler: Labeler,
    benchmarks: Sequence[Task] = (),
    teacher: TeacherConfig | None = None,
    verdicts: Path | None = None,
) -> dict[str, Any]:
    """Labels, writes `responses/`, `questions/`, `gold/` and `plots/*.png`, and gathers the figures on the way.

    Args:
        folder (`str` or `Path`): written into.
        questions, responses, task, labeler: as for [`~hfdistill.labels.dataset.labelled_dataset`].
        benchmarks (`Sequence[Task]`, *optional*): further tasks whose test questions must not be trained on.
        teacher ([`~hfdistill.sections.TeacherConfig`], *optional*): the run's, for a labeler that asks a model.
        verdicts (`Path`, *optional*): folder for a labeler that pays for its verdicts, so that a labelling that was
            killed buys none twice.

    Returns:
        `dict`: what [`~hfdistill.labels.statistics.LabelStatistics.result`] returns, `overlap` of the training
        questions with the test questions of the task and of each benchmark, and `judge`, what asking one came to.
    """
    response_rows, question_rows = labelled_dataset(
        questions, responses, task, labeler=labeler, teacher=teacher, folder=verdicts
    )
    golds = task.golds()
    statistics = LabelStatistics(question_rows, golds, task.same)

    def counted() -> Iterator[dict[str, Any]]:
        for row in response_rows:
            statistics.add(row)
            yield row

    write_dataset(folder, counted(), question_rows, golds)
    figures = statistics.result()
    if asked := labeler.figures():
        figures["judge"] = asked
    draw(figures, Path(folder) / "plots")
    trained = [question for question in questions if question.split == "train"]
    compared = (task, *benchmarks)
    for name, tested_by in zip(distinct_names(compared), compared, strict=True) if trained else ():
        if tested := held_out(tested_by):
            figures.setdefault("overlap", {})[f"{name} test"] = overlap(trained, tested)
    return figures
