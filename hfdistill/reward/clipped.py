"""The vote, and a score from which nothing is to be gained above a threshold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from .scored import Judged, OutcomeReward
from .vote import NO_ANSWER_REWARD, vote_reward


def clipped_reward(
    answer: str | None,
    pseudo_label: str | None,
    score: float | None,
    *,
    same: Callable[[str, str], bool],
    weight: float = 0.5,
    threshold: float = 0.0,
) -> float:
    """The vote plus `weight * min(score - threshold, 0)`: Clip of https://arxiv.org/abs/2410.15115 for a score of the
    whole response.

    | The response has | reward |
    |---|---|
    | no extractable answer | -5; the reward model need not be asked |
    | the pseudo-label as its answer | 1 + weight * min(score - threshold, 0) |
    | another answer | -1 + weight * min(score - threshold, 0) |
    | an answer to a question without a pseudo-label | weight * min(score - threshold, 0) |

    Args:
        answer (`str`, *optional*), pseudo_label (`str`, *optional*), same (`Callable`): as in
            [`~hfdistill.reward.vote.vote_reward`].
        score (`float`, *optional*): score of the reward model. May be `None` only where `answer` is.
        weight (`float`, *optional*, defaults to 0.5): of the clipped score.
        threshold (`float`, *optional*, defaults to 0.0): the score from which on a response is good enough.
    """
    if answer is None:
        return NO_ANSWER_REWARD
    return vote_reward(answer, pseudo_label, same=same) + weight * min(score - threshold, 0.0)


@dataclass
class ClippedReward(OutcomeReward):
    """[`clipped_reward`] for a batch of completions.

    Args:
        weight (`float`, *optional*, defaults to 0.5), threshold (`float`, *optional*, defaults to 0.0): as there.
        pessimism (`float`, *optional*, defaults to 0.0): standard deviations of an ensemble taken off its mean score.
    """

    name: ClassVar[str] = "clipped"

    weight: float = 0.5
    threshold: float = 0.0
    pessimism: float = 0.0

    def __post_init__(self):
        self.check_number("weight", least=0)
        self.check_number("threshold")
        self.check_number("pessimism", least=0)

    def values(self, judged: Sequence[Judged]) -> list[float]:
        """See [`~hfdistill.reward.scored.OutcomeReward.values`]."""
        options = {"same": self.task.same, "weight": self.weight, "threshold": self.threshold}
        return [clipped_reward(each.answer, each.pseudo_label, each.score, **options) for each in judged]
