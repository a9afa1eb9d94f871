"""Plots of a reward model, as PNG: how its scores spread, and whether they keep what they promise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..plots import new_plot, save, training_curves
from ..rows import ROLES
from .figures import calibration, responses


SHOWN = {
    "student_negative": ("student, wrong", "#8a8f98"),
    "student_positive": ("student, right", "#6f9bd1"),
    "teacher_positive": ("teacher, right", "#d1632a"),
}


def draw_all(history: Sequence[Mapping[str, Any]], scores: np.ndarray, present: np.ndarray, folder: Path) -> list[str]:
    """Draw what the card shows into PNG files, and return their names: the curves of the training, and where there was
    a validation, scores and calibration on its triples, `(triples, 4)`.
    """
    curves = {"eval_pos_neg": "Pos/Neg", "eval_pos_pos": "Pos/Pos", "eval_auc": "AUC"}
    training_curves(history, folder / "curves.png", curves)
    if not len(scores):
        return ["curves.png"]
    score_histogram(scores, present, folder / "scores.png")
    calibration_plot(scores, present, folder / "calibration.png")
    return ["curves.png", "scores.png", "calibration.png"]


def score_histogram(scores: np.ndarray, present: np.ndarray, path: Path) -> None:
    """Draw the scores of wrong, right and teacher's responses."""
    plot, axes = new_plot(6.4, 3.0)
    values = scores[present.astype(bool)]
    edges = np.linspace(values.min() - 1e-6, values.max() + 1e-6, 31)
    for role, (name, colour) in SHOWN.items():
        column = ROLES.index(role)
        shown = scores[present[:, column].astype(bool), column]
        axes.hist(shown, bins=edges, histtype="stepfilled", alpha=0.45, color=colour, label=f"{name} ({len(shown)})")
    axes.axvline(0, color="#30343a", linewidth=0.8)
    axes.set_xlabel("score")
    axes.set_ylabel("validation responses")
    axes.legend(fontsize=8, frameon=False)
    save(plot, path)


def calibration_plot(scores: np.ndarray, present: np.ndarray, path: Path) -> None:
    """Draw the share of right responses against what the scores promise, sigmoid(score)."""
    rows = calibration(*responses(scores, present))
    plot, axes = new_plot(4.0, 3.6)
    axes.plot([0, 1], [0, 1], color="#c9cdd3", linewidth=1)
    axes.plot([row["promised"] for row in rows], [row["observed"] for row in rows], "o-", color="#d1632a")
    axes.set_xlabel("sigmoid(score)")
    axes.set_ylabel("share of right responses")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    save(plot, path)
