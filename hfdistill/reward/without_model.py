"""Rewards that ask no reward model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .distilled import NO_ANSWER_REWARD
from .rewards import Reward


BRIEF_UNIT = 100


@dataclass
class PseudoLabelReward(Reward):
    """The vote alone, a control for Eq. 7: 1 for the pseudo-label as the answer, -1 for another answer, -5 for none,
    and 0 for an answer to a question without a pseudo-label.
    """

    name: ClassVar[str] = "pseudo_label"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[list[int]],
        question_id: Sequence[str],
        pseudo_label: Sequence[str | None],
        **columns: Any,
    ) -> list[float]:
        return [
            self._one(answer, label)
            for answer, label in zip(self.answers(completions, question_id), pseudo_label, strict=True)
        ]

    def _one(self, answer: str | None, label: str | None) -> float:
        if answer is None:
            return NO_ANSWER_REWARD
        if label is None:
            return 0.0
        return 1.0 if self.task.same(answer, label) else -1.0


def brief(completion_ids: Sequence[list[int]], **columns: Any) -> list[float]:
    """Minus the length in hundreds of tokens, end token included: -2 for a completion of 200 tokens."""
    return [-len(ids) / BRIEF_UNIT for ids in completion_ids]
