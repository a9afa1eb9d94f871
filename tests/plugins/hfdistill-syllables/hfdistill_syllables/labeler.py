"""A labeler: the answer of the teacher's first high-confidence response is taken as right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hfdistill.labels import HIGH, Candidate, Labeler, Verdict, response_label
from hfdistill.tasks import Question, Task


@dataclass
class Greedy(Labeler):
    name: ClassVar[str] = "greedy"

    def label(self, question: Question, candidates: Sequence[Candidate], task: Task) -> Verdict:
        voters = [candidate for candidate in candidates if candidate.confidence == HIGH]
        answer = voters[0].answer if voters else None
        labels = tuple(response_label(candidate.answer, answer, task.same) for candidate in candidates)
        return Verdict(answer, 1.0 if answer else 0.0, int(answer is not None), len(voters), labels)
