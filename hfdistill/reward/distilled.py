"""The reward that PPO maximises: the reward model's score, corrected by the pseudo-label."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from ..errors import HFDistillError, unknown
from ..tasks.base import Task
from .rewards import is_path, load_function
from .scored import Judged, OutcomeReward
from .vote import NO_ANSWER_REWARD


if TYPE_CHECKING:
    from .model import RewardScorer

VARIANTS = ("min", "minus")


def distilled_reward(
    question: str,
    response: str,
    answer: str | None,
    pseudo_label: str | None,
    score: float | None,
    *,
    same: Callable[[str, str], bool],
    variant: str = "min",
) -> float:
    """Reward of one response (Eq. 7).

    | The response has | reward |
    |---|---|
    | no extractable answer | -5; the reward model need not be asked |
    | an answer that differs from the pseudo-label | min(score, 0), or score - 1 by the variant `minus` (Fig. 7) |
    | the pseudo-label as its answer, or a question without a pseudo-label | the score |

    A function of the same signature may take this one's place by the config, which is why it also gets the texts.

    Args:
        question (`str`): text of the question.
        response (`str`): text of the response.
        answer (`str`, *optional*): canonical answer extracted from the response, `None` if there is none.
        pseudo_label (`str`, *optional*): canonical answer the teacher's vote gave, `None` for a question of D_fail.
        score (`float`, *optional*): score of the reward model. May be `None` only where `answer` is.
        same (`Callable[[str, str], bool]`): whether two canonical answers are equal, as the task sees it.
        variant (`str`, *optional*, defaults to `"min"`): `"min"` or `"minus"`.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the variant is unknown.
    """
    if variant not in VARIANTS:
        raise unknown("reward variant", str(variant), VARIANTS)
    if answer is None:
        return NO_ANSWER_REWARD
    if pseudo_label is None or same(answer, pseudo_label):
        return score
    return min(score, 0.0) if variant == "min" else score - 1.0


@dataclass
class DistilledReward(OutcomeReward):
    """Eq. 7 for a batch of completions.

    Args:
        variant (`str`, *optional*, defaults to `"min"`): of Eq. 7, `"min"` or `"minus"` (Fig. 7).
        function (`str`, *optional*): `"module:function"` in place of Eq. 7:
            `f(question, response, answer, pseudo_label, score)`, and `same` if it wants it; see [`distilled_reward`].
    """

    name: ClassVar[str] = "distilled"

    variant: str = "min"
    function: str | None = None

    def __post_init__(self):
        if self.variant not in VARIANTS:
            raise unknown("reward variant", str(self.variant), VARIANTS)
        if self.function is not None and not is_path(str(self.function)):
            raise HFDistillError(f"function of reward {self.name} is {self.function!r}: it reads module:function")

    def prepare(self, task: Task, scorer: "RewardScorer | None" = None, few_shot: bool = False) -> "DistilledReward":
        """See [`~hfdistill.reward.rewards.Reward.prepare`]."""
        super().prepare(task, scorer, few_shot)
        rule = distilled_reward if self.function is None else load_function(self.function)
        # A function of the user's own need not care when two answers are equal, nor for variants of Eq. 7.
        accepted = inspect.signature(rule).parameters
        options = {"same": task.same, "variant": self.variant}
        self.rule = partial(rule, **{name: value for name, value in options.items() if name in accepted})
        return self

    def values(self, judged: Sequence[Judged]) -> list[float]:
        """See [`~hfdistill.reward.scored.OutcomeReward.values`]."""
        return [
            self.rule(
                self.questions[each.question_id].question, each.response, each.answer, each.pseudo_label, each.score
            )
            for each in judged
        ]


@dataclass
class PessimisticReward(DistilledReward):
    """Eq. 7 with the mean of an ensemble less some of its standard deviations in the score's place: where the heads
    disagree, nothing is known, and nothing is to be gained (https://arxiv.org/abs/2310.02743).

    Args:
        variant (`str`, *optional*, defaults to `"min"`), function (`str`, *optional*): as in [`DistilledReward`].
        pessimism (`float`, *optional*, defaults to 1.0): how many standard deviations.
    """

    name: ClassVar[str] = "pessimistic"

    pessimism: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        self.check_number("pessimism", least=0)
