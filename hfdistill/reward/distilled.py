"""The reward that PPO maximises: the reward model's score, corrected by the pseudo-label."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import HFDistillError, unknown
from ..tasks.base import Task
from .rewards import Reward, is_path, load_function, text_of


if TYPE_CHECKING:
    from .model import RewardScorer

NO_ANSWER_REWARD = -5.0
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
class DistilledReward(Reward):
    """Eq. 7 for a batch of completions. The reward model is asked about those with an extractable answer alone.

    The dataset needs the columns `question_id` and `pseudo_label` (`None` where there is none).

    Args:
        variant (`str`, *optional*, defaults to `"min"`): of Eq. 7, `"min"` or `"minus"` (Fig. 7).
        function (`str`, *optional*): `"module:function"` in place of Eq. 7:
            `f(question, response, answer, pseudo_label, score)`, and `same` if it wants it; see [`distilled_reward`].
    """

    name: ClassVar[str] = "distilled"
    asks_model: ClassVar[bool] = True

    variant: str = "min"
    function: str | None = None

    def __post_init__(self):
        if self.variant not in VARIANTS:
            raise unknown("reward variant", str(self.variant), VARIANTS)
        if self.function is not None and not is_path(str(self.function)):
            raise HFDistillError(f"function of reward distilled is {self.function!r}: it reads module:function")

    def prepare(self, task: Task, scorer: "RewardScorer | None" = None, few_shot: bool = False) -> "DistilledReward":
        """See [`~hfdistill.reward.rewards.Reward.prepare`]."""
        super().prepare(task, scorer, few_shot)
        rule = distilled_reward if self.function is None else load_function(self.function)
        # A function of the user's own need not care when two answers are equal, nor for variants of Eq. 7.
        accepted = inspect.signature(rule).parameters
        options = {"same": task.same, "variant": self.variant}
        self.rule = partial(rule, **{name: value for name, value in options.items() if name in accepted})
        return self

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
        asked = [index for index, answer in enumerate(answers) if answer is not None]
        values = self._scores(
            *([column[index] for index in asked] for column in (completions, completion_ids, question_id))
        )
        scores: dict[int, float] = dict(zip(asked, values, strict=True))
        if log_metric is not None and answers:
            log_metric("objective/no_answer_rate", 1 - len(asked) / len(answers))
            labelled = [
                answer is not None and self.task.same(answer, label)
                for answer, label in zip(answers, pseudo_label, strict=True)
                if label is not None
            ]
            if labelled:
                log_metric("objective/pseudo_label_rate", sum(labelled) / len(labelled))
        return [
            self.rule(self.questions[key].question, text_of(completion), answer, label, scores.get(index))
            for index, (key, completion, answer, label) in enumerate(
                zip(question_id, completions, answers, pseudo_label, strict=True)
            )
        ]

    def _scores(
        self, completions: Sequence[Any], completion_ids: Sequence[list[int]], question_id: Sequence[str]
    ) -> list[float]:
        """The reward model's scores, of responses behind the bare prompt, where it was trained, and as the ids that
        were sampled. One that a stop string ended is finished where that begins.
        """
        encoder = self.scorer.encoder
        sequences = []
        for completion, ids, key in zip(completions, completion_ids, question_id, strict=True):
            text, ids = text_of(completion), list(ids)
            if not encoder.ended(ids) and encoder.decode(ids) != text:
                ids = encoder.finished_ids(ids, text)
            sequences.append(encoder.question_ids(self.task, self.questions[key]) + ids)
        return self.scorer.score_ids(sequences).tolist()
