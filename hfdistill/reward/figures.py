"""How good a reward model is: pairs put in the right order (Table 3), calibration, area under the curve."""

from typing import Any

import numpy as np

from ..intervals import interval
from ..rows import CORRECT


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


def with_intervals(figures: dict[str, Any]) -> dict[str, Any]:
    """The same figures, Pos/Neg and Pos/Pos with their 95 % intervals over pairs; what is undefined is left out."""
    shown = {name: value for name, value in figures.items() if not np.isnan(value)}
    for name in ("pos_neg", "pos_pos"):
        n = shown.pop(f"{name}_n")
        if n:
            shown[name] = interval(figures[name] * n, n)
    return shown
