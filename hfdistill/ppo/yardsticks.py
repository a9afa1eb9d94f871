"""Figures of validation that need no label: how far the reward model believes the policy, and the policy itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..labels.vote import vote
from ..training.best_checkpoint import AGREEMENT, REWARD_SCORE
from .ballots import Ballot, BallotReader


@dataclass(frozen=True)
class Yardsticks:
    """What sampled answers to validation questions are worth, whether or not these have labels.

    Args:
        names (`Sequence[str]`): figures, `reward_score` and `agreement`.
        reader ([`~hfdistill.ppo.ballots.BallotReader`]): with the reward model, if `reward_score` is among them.
        samples (`int`): answers to each question.
    """

    names: Sequence[str]
    reader: BallotReader
    samples: int

    def figures(self, ballots: Sequence[Ballot]) -> dict[str, float]:
        """Of the answers to one question: the mean `reward_score`, the sigmoid of the reward model's score and 0
        without an answer; and `agreement`, the share of them that have the answer which most of them have.
        """
        said = {
            REWARD_SCORE: sum(ballot.weight for ballot in ballots) / len(ballots),
            AGREEMENT: vote([ballot.answer for ballot in ballots], 1.0, self.reader.same).share,
        }
        return {name: said[name] for name in self.names}
