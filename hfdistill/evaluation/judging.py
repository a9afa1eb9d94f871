"""What a judge says of answers to the test questions of an open-ended task, kept so that none is judged twice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from ..labels.dataset import labelled_dataset
from ..labels.labeler import CORRECT, HIGH, INCORRECT, Labeler
from ..labels.llm_judge import LLMJudge
from ..sections import TeacherConfig
from ..tasks.base import Question, Task


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
        verdicts: list[list[bool | None] | None] = [None]
        if PartialState().is_main_process:
            asked = [{**row, "confidence": HIGH} for row in rows]
            made, _ = labelled_dataset(questions, asked, task, self.judge, self.teacher, self.folder)
            verdicts = [[MEANS[row["label"]] for row in made]]
        broadcast_object_list(verdicts)
        return [{**row, "correct": verdict} for row, verdict in zip(rows, verdicts[0], strict=True)]
