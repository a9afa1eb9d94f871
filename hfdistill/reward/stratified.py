"""The vote decides, and the reward model orders the right answers among each other, and the wrong ones."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .scored import Judged, OutcomeReward
from .vote import NO_ANSWER_REWARD


def squashed(score: float) -> float:
    """2 * sigmoid(score) - 1, between -1 and 1: how much surer of right than of wrong the model is."""
    return math.tanh(score / 2)


def places(scores: Sequence[float]) -> list[float]:
    """Where each score stands among these: from -1, the lowest, to 1, the highest.

    Where there is no order among them, a single score or equal ones, each has what the model says of it alone,
    [`squashed`].
    """
    low, high = min(scores), max(scores)
    # Scores so close that their distance is none in floating point have no order, either.
    if not (high - low) > 0:
        return [squashed(score) for score in scores]
    return [2 * ((score - low) / (high - low)) - 1 for score in scores]


def stratified_rewards(judged: Sequence[Judged], *, beta: float = 0.9) -> list[float]:
    """Rewards of the responses of one call (HERO, https://arxiv.org/abs/2510.07242, min-max within a stratum).

    A stratum is the right, or the wrong, answers to one question; a place in it is between -1 and 1, see [`places`].

    | The response has | reward |
    |---|---|
    | no extractable answer | -5; the reward model need not be asked |
    | the pseudo-label as its answer | 1 + beta * its place among the right answers to its question |
    | another answer | -1 + beta * its place among the wrong answers to its question |
    | an answer to a question without a pseudo-label | beta * (2 * sigmoid(score) - 1) |

    With `beta` below 1 every right answer is above every wrong one, whatever the scores. Neither the order of the
    responses nor other questions' change a reward.

    Args:
        judged (`Sequence[Judged]`): the responses, of any questions.
        beta (`float`, *optional*, defaults to 0.9): how far the model may move a reward.
    """
    strata: dict[tuple[str, bool], list[int]] = defaultdict(list)
    rewards = [NO_ANSWER_REWARD] * len(judged)
    for index, each in enumerate(judged):
        if each.right is not None:
            strata[each.question_id, each.right].append(index)
        elif each.answer is not None:
            rewards[index] = beta * squashed(each.score)
    for (_, right), indices in strata.items():
        for index, place in zip(indices, places([judged[i].score for i in indices]), strict=True):
            rewards[index] = (1.0 if right else -1.0) + beta * place
    return rewards


@dataclass
class StratifiedReward(OutcomeReward):
    """[`stratified_rewards`] of a batch of completions. Those to one prompt are told by their `question_id`: several a
    prompt (`ppo.num_generations`, TRL's `num_generations`) give the model something to order.

    Args:
        beta (`float`, *optional*, defaults to 0.9): as there; at least 0 and below 1.
        pessimism (`float`, *optional*, defaults to 0.0): standard deviations of an ensemble taken off its mean score.
    """

    name: ClassVar[str] = "stratified"

    beta: float = 0.9
    pessimism: float = 0.0

    def __post_init__(self):
        self.check_number("beta", least=0, below=1)
        self.check_number("pessimism", least=0)

    def values(self, judged: Sequence[Judged]) -> list[float]:
        """See [`~hfdistill.reward.scored.OutcomeReward.values`]."""
        return stratified_rewards(judged, beta=self.beta)
