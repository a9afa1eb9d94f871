"""What the vote alone says of a response."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .rewards import Reward


NO_ANSWER_REWARD = -5.0


def vote_reward(answer: str | None, pseudo_label: str | None, *, same: Callable[[str, str], bool]) -> float:
    """1 for the pseudo-label as the answer, -1 for another answer, 0 for an answer to a question without a
    pseudo-label, and -5 for no answer, as in Eq. 7.

    Args:
        answer (`str`, *optional*): canonical answer extracted from the response, `None` if there is none.
        pseudo_label (`str`, *optional*): canonical answer the teacher's vote gave, `None` for a question of D_fail.
        same (`Callable[[str, str], bool]`): whether two canonical answers are equal, as the task sees it.
    """
    if answer is None:
        return NO_ANSWER_REWARD
    if pseudo_label is None:
        return 0.0
    return 1.0 if same(answer, pseudo_label) else -1.0


@dataclass
class VoteReward(Reward):
    """The vote alone, a control for Eq. 7: [`vote_reward`] for a batch of completions, without a reward model.

    The dataset needs the columns `question_id` and `pseudo_label` (`None` where there is none).
    """

    name: ClassVar[str] = "vote"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[list[int]],
        question_id: Sequence[str],
        pseudo_label: Sequence[str | None],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Rewards of the completions; logs the share without an answer and the share that agrees with y*."""
        answers = self.answers(completions, question_id)
        self.log_agreement(answers, pseudo_label, log_metric)
        return [
            vote_reward(answer, label, same=self.task.same)
            for answer, label in zip(answers, pseudo_label, strict=True)
        ]
