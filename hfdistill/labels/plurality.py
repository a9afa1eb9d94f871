"""The answer that most responses have: a vote without a threshold, in which each may weigh by its score."""

from collections.abc import Callable, Sequence
from math import tanh


def plurality(
    answers: Sequence[str | None], same: Callable[[str, str], bool], weights: Sequence[float] | None = None
) -> str | None:
    """The answer with the greatest weight among responses, in the form that was met first.

    Args:
        answers (`Sequence[str | None]`): canonical answers in the order of sampling; `None` votes for nothing.
        same (`Callable[[str, str], bool]`): whether two answers are one.
        weights (`Sequence[float]`, *optional*): of each response; 1 by default.

    Returns:
        `str` or `None`: of answers with equal weight the one that was sampled first; `None` where there is none.
    """
    totals: dict[str, float] = {}
    for answer, weight in zip(answers, weights or [1.0] * len(answers), strict=True):
        if answer is not None:
            known = answer if answer in totals else next((each for each in totals if same(each, answer)), answer)
            totals[known] = totals.get(known, 0.0) + weight
    return max(totals, key=totals.__getitem__, default=None)


def score_weight(score: float) -> float:
    """What a response weighs by the reward model's score: the sigmoid of it."""
    return (1 + tanh(score / 2)) / 2
