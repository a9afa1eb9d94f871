"""How good a reward model is: pairs put in the right order (Table 3), calibration, area under the curve."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..intervals import clustered_interval, interval
from ..rows import CORRECT


# The highest temperature that is fitted, and one over the lowest.
HOTTEST = 10


def pair_accuracy(higher: np.ndarray, lower: np.ndarray) -> float:
    """Share of pairs whose first score is the larger; equal scores count one half. NaN without pairs."""
    if not len(higher):
        return float("nan")
    return float(np.mean((higher > lower) + 0.5 * (higher == lower)))


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a right response scores above a wrong one of any question; ties count one half."""
    if not len(positive) or not len(negative):
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below + not_above).mean() / 2 / len(negative))


def calibration(scores: np.ndarray, correct: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Compare what the score promises, sigmoid(score), with the share of right responses, in bins of equal width.

    Returns:
        `list[dict]`: for each bin that holds anything, `promised`, `observed` and `n`.
    """
    promised = 0.5 * (1 + np.tanh(scores / 2))
    which = np.minimum((promised * bins).astype(int), bins - 1)
    return [
        {"promised": float(promised[held].mean()), "observed": float(correct[held].mean()), "n": int(held.sum())}
        for held in (which == index for index in range(bins))
        if held.any()
    ]


def responses(scores: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all responses of some triples `(triples, 4)`, and which of them are right, `(responses,)` each."""
    mask = present.astype(bool)
    return scores[mask], np.broadcast_to(CORRECT, scores.shape)[mask]


def reward_figures(scores: np.ndarray, present: np.ndarray) -> dict[str, Any]:
    """All figures of a reward model on triples, from scores and presence `(triples, 4)`.

    Returns:
        `dict`: `pos_neg` and `pos_pos` (Table 3), `auc`, `accuracy` of the score's sign, `calibration_error`, and the
        numbers of pairs `pos_neg_n` and `pos_pos_n`.
    """
    present = present.astype(bool)
    right, wrong, taught, _ = scores.T
    has_right, has_wrong, has_taught, _ = present.T
    pos_neg, pos_pos = has_right & has_wrong, has_right & has_taught
    flat, correct = responses(scores, present)
    bins = calibration(flat, correct)
    return {
        "pos_neg": pair_accuracy(right[pos_neg], wrong[pos_neg]),
        "pos_pos": pair_accuracy(taught[pos_pos], right[pos_pos]),
        "auc": area_under_curve(flat[correct], flat[~correct]),
        "accuracy": float(np.mean((flat > 0) == correct)) if len(flat) else float("nan"),
        "calibration_error": sum(row["n"] * abs(row["promised"] - row["observed"]) for row in bins)
        / max(len(flat), 1),
        "pos_neg_n": int(pos_neg.sum()),
        "pos_pos_n": int(pos_pos.sum()),
    }


def with_intervals(scores: np.ndarray, present: np.ndarray, questions: Sequence[str]) -> dict[str, Any]:
    """The same figures, Pos/Neg and Pos/Pos with their 95 % intervals, in which the pairs of a question, by the ids
    `(triples,)`, are no independent trials; what is undefined is left out.
    """
    figures = reward_figures(scores, present)
    shown = {name: value for name, value in figures.items() if not np.isnan(value)}
    right, wrong, taught, _ = scores.T
    has_right, has_wrong, has_taught, _ = present.astype(bool).T
    for name, higher, lower, both in (
        ("pos_neg", right, wrong, has_right & has_wrong),
        ("pos_pos", taught, right, has_right & has_taught),
    ):
        if shown.pop(f"{name}_n"):
            ordered = (higher > lower) + 0.5 * (higher == lower)
            shown[name] = clustered_interval(ordered[both].tolist(), np.array(questions)[both].tolist())
    return shown


def card_figures(
    said: np.ndarray, present: np.ndarray, questions: Sequence[str], calibrate: bool
) -> tuple[float, dict[str, Any]]:
    """What is published of validation triples.

    Args:
        said (`np.ndarray`): what each head says, `(triples, 4, heads)`; the score is their mean.
        present (`np.ndarray`): `(triples, 4)`.
        questions (`Sequence[str]`): id of each triple's question.
        calibrate (`bool`): fit a temperature, see [`fit_temperature`].

    Returns:
        `tuple`: the temperature, 1 without, and figures of the scores over it, see [`with_intervals`]; with
        `temperature` and `calibration_error_before` where it was fitted, and of an ensemble the standard deviation of
        its heads on right and on wrong responses, `spread_of_right` and `spread_of_wrong`, in the mean.
    """
    scores = said.mean(-1)
    temperature = fit_temperature(*responses(scores, present)) if calibrate else 1.0
    figures = with_intervals(scores / temperature, present, questions)
    if calibrate:
        before = reward_figures(scores, present)["calibration_error"]
        figures |= {"temperature": temperature, "calibration_error_before": before}
    if said.shape[-1] > 1 and len(said):
        spread, correct = responses(said.std(-1) / temperature, present)
        figures |= {
            "spread_of_right": float(spread[correct].mean()),
            "spread_of_wrong": float(spread[~correct].mean()),
        }
    return temperature, figures


def fit_temperature(scores: np.ndarray, correct: np.ndarray) -> float:
    """The temperature T by which sigmoid(score / T) has the least cross-entropy on responses, right or wrong,
    `(responses,)`; at least 0.1 and at most 10. 1 where there are none, or all scores are 0.
    """
    if not scores.any():
        return 1.0
    low, high = 1 / HOTTEST, float(HOTTEST)
    # The cross-entropy is convex in 1 / T, so that its slope changes its sign once.
    for _ in range(60):
        inverse = math.sqrt(low * high)
        promised = 0.5 * (1 + np.tanh(scores * inverse / 2))
        if np.sum((promised - correct) * scores) > 0:
            high = inverse
        else:
            low = inverse
    return 1 / math.sqrt(low * high)


def response_figures(
    scores: np.ndarray, correct: np.ndarray, lengths: np.ndarray, questions: Sequence[str]
) -> dict[str, Any]:
    """Figures of a reward model on all answers that a student gave, whether a triple has them or not.

    Args:
        scores (`np.ndarray`), correct (`np.ndarray`), lengths (`np.ndarray`): of responses with an answer,
            `(responses,)`: what the model says, whether the vote agrees, and how many tokens there are.
        questions (`Sequence[str]`): id of each one's question.

    Returns:
        `dict`: `responses` and `questions`; `auc`; `pos_neg_of_all_pairs`, of a right and a wrong answer to one
        question; `one`, the share of right answers, and `best`, the share of questions whose best answer by the model
        is right, among several; Spearman's correlation of score and length, `length`, and among right answers
        `length_of_right`. What is undefined is left out.
    """
    of_question: dict[str, list[int]] = defaultdict(list)
    for index, question in enumerate(questions):
        of_question[question].append(index)
    ordered, pairs, best = [], [], []
    for question, indices in of_question.items():
        right, wrong = (scores[[i for i in indices if correct[i] == wanted]] for wanted in (True, False))
        differences = (right[:, None] - wrong[None, :]).flatten()
        ordered += ((differences > 0) + 0.5 * (differences == 0)).tolist()
        pairs += [question] * len(differences)
        best.append(correct[max(indices, key=scores.__getitem__)])
    figures: dict[str, Any] = {"responses": len(scores), "questions": len(of_question)}
    if ordered:
        figures["pos_neg_of_all_pairs"] = clustered_interval(ordered, pairs)
    if len(scores):
        figures["one"] = float(correct.mean())
        figures["best"] = interval(int(sum(best)), len(best))
    figures["auc"] = area_under_curve(scores[correct], scores[~correct])
    figures["length"] = rank_correlation(scores, lengths)
    figures["length_of_right"] = rank_correlation(scores[correct], lengths[correct])
    return {name: value for name, value in figures.items() if isinstance(value, dict) or not math.isnan(value)}


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation, equal values at the mean of their ranks; NaN where one of them never varies."""
    ranks = []
    for values in (one, other):
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[places])
    if any(len(values) == 0 or values.std() == 0 for values in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])
