"""GSM-Plus: GSM8K test questions, perturbed (Li et al. 2024; qintongli/GSM-Plus). Evaluation only: every row derives
from a GSM8K test question, so there is nothing to train on.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from .base import Question
from .gsm8k import GradeSchoolMath, gold_number
from .loading import column, load_rows


@dataclass
class GsmPlus(GradeSchoolMath):
    """Categories are the eight perturbations. The rows of "critical thinking" cannot be answered; their gold is
    `"none"`, and no answer, or saying so, is right. Accuracy is given with and without them.

    Args:
        dataset (`str`): repository on the Hub.
        hub_split (`str`): its split: `testmini` (2,400 rows) or `test` (10,552).
        revision (`str`, *optional*): commit, tag or branch of the dataset.
        path (`str`, *optional*): a file of rows, or a folder with a file of the split, instead of the Hub.
    """

    name: ClassVar[str] = "gsm_plus"
    unanswerable: ClassVar[str] = "none"

    dataset: str = "qintongli/GSM-Plus"
    hub_split: str = "testmini"
    revision: str | None = None
    path: str | None = None

    @cached_property
    def _rows(self) -> list[tuple[str, dict]]:
        rows = load_rows(self.name, self.dataset, self.hub_split, None, self.revision, self.path)
        return [(f"gsm_plus-{self.hub_split}-{number}", row) for number, row in enumerate(rows)]

    def questions(self) -> list[Question]:
        return [
            Question(
                question_id,
                column(row, "question", number, self.name),
                "test",
                category=column(row, "perturbation_type", number, self.name),
            )
            for number, (question_id, row) in enumerate(self._rows)
        ]

    def golds(self) -> dict[str, str]:
        golds = {}
        for number, (question_id, row) in enumerate(self._rows):
            gold = str(column(row, "answer", number, self.name)).strip()
            golds[question_id] = self.unanswerable if gold.lower() == "none" else gold_number(gold, question_id)
        return golds

    def correct(self, answer: str | None, gold: str) -> bool:
        return answer is None if gold == self.unanswerable else answer is not None and self.same(answer, gold)
