"""What a labeler is: for one question and the teacher's responses to it, which of them are right."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..sections import TeacherConfig
from ..tasks.base import Question, Task


CORRECT, INCORRECT = "correct", "incorrect"
HIGH, LOW = "high", "low"


@dataclass(frozen=True)
class Candidate:
    """Responses to one question that are alike to the labeler.

    Args:
        answer (`str`, *optional*): their extracted answer.
        confidence (`str`): `"high"` or `"low"`.
        response (`str`, *optional*): their text, only for labelers that read it.
        count (`int`): how many there are.
    """

    answer: str | None
    confidence: str
    response: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Verdict:
    """A question's label and its candidates' labels.

    Args:
        pseudo_label (`str`, *optional*): the answer taken as right, `None` where none is reliable.
        vote_share (`float`): share of the voters for the leading answer, or of the judge's verdicts.
        votes (`int`): voters for it.
        voters (`int`): all voters.
        labels (`tuple[str | None, ...]`): `"correct"`, `"incorrect"` or `None`, one a candidate, in their order.
    """

    pseudo_label: str | None
    vote_share: float
    votes: int
    voters: int
    labels: tuple[str | None, ...]

    @property
    def failed(self) -> bool:
        """Whether the question belongs to D_fail: nothing in it is reliably right."""
        return self.pseudo_label is None and CORRECT not in self.labels


class Labeler(ABC):
    """Decides labels. Subclasses are dataclasses whose fields are the options of their section.

    Attributes:
        reads_text (`bool`): whether candidates carry their response; otherwise responses with one answer and one
            confidence are one candidate, and labelling streams.
    """

    name: ClassVar[str] = ""
    reads_text: ClassVar[bool] = False

    def check(self, task: Task) -> None:  # noqa: B027
        """Called before anything is bought: raises [`~hfdistill.errors.HFDistillError`] for a task whose responses it
        cannot label.
        """

    def prepare(  # noqa: B027
        self,
        asked: Iterable[tuple[Question, Sequence[Candidate]]],
        task: Task,
        teacher: TeacherConfig | None,
        folder: Path | None,
    ) -> None:
        """Called once before everything that `asked` holds is labelled, for labelers that ask a model.

        Args:
            asked (`Iterable[tuple[Question, Sequence[Candidate]]]`): read once, and not at all by default.
            task ([`~hfdistill.tasks.base.Task`]): of the questions.
            teacher ([`~hfdistill.sections.TeacherConfig`], *optional*): the run's, with its limits.
            folder (`Path`, *optional*): where what was paid for is kept, so that none of it is bought twice.
        """

    @abstractmethod
    def label(self, question: Question, candidates: Sequence[Candidate], task: Task) -> Verdict:
        """Labels one question."""

    def figures(self) -> dict[str, Any]:
        """What asking a model took and came to, for manifest and card; empty where none was asked."""
        return {}
