"""The reward that PPO maximises: the reward model's score, corrected by the pseudo-label."""

from collections.abc import Callable

from ..errors import unknown


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
        raise unknown("reward variant", variant, VARIANTS)
    if answer is None:
        return NO_ANSWER_REWARD
    if pseudo_label is None or same(answer, pseudo_label):
        return score
    return min(score, 0.0) if variant == "min" else score - 1.0
