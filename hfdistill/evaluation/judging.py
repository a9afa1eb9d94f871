"""What a judge says of answers to the test questions of an open-ended task, kept so that none is judged twice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..labels.dataset import labelled_dataset
from ..labels.labeler import CORRECT, HIGH, INCORRECT, Labeler
from ..labels.llm_judge import LLMJudge
from ..sections import TeacherConfig
from ..tasks.base import Question, Task
from ..training.shares import on_main_process


MEANS = {CORRECT: True, INCORRECT: False, None: None}


class Judging:
    """A judge of the rows of a table.

    Args:
        judge ([`~hfdistill.labels.labeler.Labeler`]): grades each answer by itself.
        teacher ([`~hfdistill.sections.TeacherConfig`], *optional*): the run's, with limits and prices.
        folder (`Path`): where what the judge said is kept.
    """

    def __init__(self, judge: Labeler, teacher: TeacherConfig | None, folder: Path):
        self.judge = replace(judge, mode="grade") if isinstance(judge, LLMJudge) else judge
        self.teacher, self.folder = teacher, folder

    def add(
        self, rows: Sequence[Mapping[str, Any]], questions: Sequence[Question], task: Task
    ) -> list[dict[str, Any]]:
        """The rows of one model with `correct`: whether the judge calls the answer good, `None` where it cannot tell.

        The main process asks; every process calls it.
        """

        def verdicts() -> list[bool | None]:
            asked = [{**row, "confidence": HIGH} for row in rows]
            made, _ = labelled_dataset(questions, asked, task, self.judge, self.teacher, self.folder)
            return [MEANS[row["label"]] for row in made]

        return [{**row, "correct": said} for row, said in zip(rows, on_main_process(verdicts), strict=True)]
