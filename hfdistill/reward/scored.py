"""Rewards that ask the reward model: which responses it reads, and as which ids."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import HFDistillError
from ..tasks.base import Task
from .rewards import Reward, text_of


if TYPE_CHECKING:
    from .model import RewardScorer


@dataclass(frozen=True)
class Judged:
    """A response with what the vote and the reward model have to say about it.

    Attributes:
        question_id (`str`): of its question.
        response (`str`): its text.
        answer (`str`, *optional*): canonical answer, `None` if none can be extracted.
        pseudo_label (`str`, *optional*): y*, `None` for a question of D_fail.
        right (`bool`, *optional*): whether the answer is y*, `None` without an answer or without y*.
        score (`float`, *optional*): of the reward model, `None` without an answer.
    """

    question_id: str
    response: str
    answer: str | None
    pseudo_label: str | None
    right: bool | None
    score: float | None


class ScoredReward(Reward):
    """A reward made of vote and score. The reward model is asked about completions with an extractable answer alone.

    The dataset needs the columns `question_id` and `pseudo_label` (`None` where there is none).

    Attributes:
        pessimism (`float`): how many standard deviations of the model's ensemble are taken off its mean
            (https://arxiv.org/abs/2310.02743); an option of those that can be pessimistic.
    """

    asks_model: ClassVar[bool] = True
    pessimism: ClassVar[float] = 0.0

    def prepare(self, task: Task, scorer: RewardScorer | None = None, few_shot: bool = False) -> ScoredReward:
        """See [`~hfdistill.reward.rewards.Reward.prepare`].

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if it is to be pessimistic, and the reward model has a single head.
        """
        super().prepare(task, scorer, few_shot)
        if self.pessimism and scorer.model.ensemble is None:
            raise HFDistillError(
                f"the reward {self.name} takes {self.pessimism:g} standard deviations of an ensemble off, and the "
                "reward model has a single head: train it with reward.ensemble: 5, or set its pessimism to 0"
            )
        return self

    def is_right(self, answer: str | None, pseudo_label: str | None) -> bool | None:
        """Whether an answer is y*; `None` where one of them is missing."""
        return None if answer is None or pseudo_label is None else self.task.same(answer, pseudo_label)

    def sequence(
        self, completion: Any, completion_ids: Sequence[int], question_id: str
    ) -> tuple[list[int], list[int]]:
        """The ids that the reward model reads of a response: the bare prompt, behind which it was trained, and those
        that were sampled. One that a stop string ended is finished where that begins.
        """
        encoder = self.scorer.encoder
        text, ids = text_of(completion), list(completion_ids)
        if not encoder.ended(ids) and encoder.decode(ids) != text:
            ids = encoder.finished_ids(ids, text)
        return encoder.question_ids(self.task, self.questions[question_id]), ids


class OutcomeReward(ScoredReward):
    """One score a response, read at its end; subclasses say by [`~OutcomeReward.values`] what it and the vote make."""

    @abstractmethod
    def values(self, judged: Sequence[Judged]) -> list[float]:
        """Rewards of the responses of a call, in their order."""

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
        asked = [index for index, answer in enumerate(answers) if answer is not None]
        read = [self.sequence(completions[i], completion_ids[i], question_id[i]) for i in asked]
        sequences = [prompt + response for prompt, response in read]
        said = self.scorer.score_ids(sequences, self.pessimism).tolist()
        scores: dict[int, float] = dict(zip(asked, said, strict=True))
        return self.values(
            [
                Judged(key, text_of(completion), answer, label, self.is_right(answer, label), scores.get(index))
                for index, (key, completion, answer, label) in enumerate(
                    zip(question_id, completions, answers, pseudo_label, strict=True)
                )
            ]
        )
