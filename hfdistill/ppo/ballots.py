"""Sampled responses as votes: what each answers, and how far the reward model believes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ..labels.plurality import score_weight
from ..reward.model import RewardScorer
from ..reward.scored import Judged, OutcomeReward
from ..tasks.base import Task


# Of sampling for a vote, as the student is sampled for D_S.
VOTE_TEMPERATURE = 0.7
# Standard deviations that are taken off the mean score of an ensemble.
PESSIMISM = 1.0


class Ballot(NamedTuple):
    """A response as a vote: its canonical answer, `None` if none can be extracted, and its weight, then 0."""

    answer: str | None
    weight: float


@dataclass
class Belief(OutcomeReward):
    """How far the reward model believes a response: the sigmoid of its score, and 0 for one without an answer.

    Args:
        pessimism (`float`, *optional*, defaults to 0.0): standard deviations of an ensemble taken off its mean score.
    """

    name: ClassVar[str] = "belief"

    pessimism: float = 0.0

    def values(self, judged: Sequence[Judged]) -> list[float]:
        """See [`~hfdistill.reward.scored.OutcomeReward.values`]."""
        return [0.0 if one.score is None else score_weight(one.score) for one in judged]


class BallotReader:
    """Reads completions as ballots; called like a reward function, with a column `question_id`.

    Args:
        task ([`~hfdistill.tasks.base.Task`]): extracts and compares answers.
        scorer ([`~hfdistill.reward.model.RewardScorer`], *optional*): the reward model whose belief is an answer's
            weight, of an ensemble less one standard deviation; without it all answers weigh 1.
    """

    def __init__(self, task: Task, scorer: RewardScorer | None = None):
        self.same = task.same
        self.weighs = scorer is not None
        alone = scorer is None or scorer.model.ensemble is None
        self._belief = Belief(0.0 if alone else PESSIMISM).prepare(task, scorer)

    def __call__(self, completions: Sequence[Any], question_id: Sequence[str], **columns: Any) -> list[Ballot]:
        """The ballots of the completions."""
        columns |= {"completions": completions, "question_id": question_id}
        answers = self._belief.answers(completions, question_id)
        weights = self._belief(**columns) if self.weighs else [float(answer is not None) for answer in answers]
        return [Ballot(answer, weight) for answer, weight in zip(answers, weights, strict=True)]
