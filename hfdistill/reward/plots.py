"""Plots of a reward model, as PNG: how its scores spread, and whether they keep what they promise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..plots import INK, POLICY, RIGHT, TEACHER, WRONG, legend_below, new_plot, save, training_curves
from ..rows import ROLES
from .figures import calibration, responses


SHOWN = {
    "student_negative": ("student, wrong", WRONG, "//"),
    "student_positive": ("student, right", RIGHT, None),
    "teacher_positive": ("teacher, right", TEACHER, None),
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
    """Draw the scores of wrong, right and teacher's responses, each as shares of its own number."""
    with new_plot(6.4, 3.4) as (plot, axes):
        values, areas = scores[present.astype(bool)], []
        edges = np.linspace(values.min() - 1e-6, values.max() + 1e-6, 31)
        for role, (name, colour, hatch) in SHOWN.items():
            column = ROLES.index(role)
            shown = scores[present[:, column].astype(bool), column]
            look = {"color": colour, "hatch": hatch, "label": f"{name} ({len(shown):,})"}
            share = {"bins": edges, "weights": np.full(len(shown), 1 / max(len(shown), 1))}
            areas += axes.hist(shown, histtype="stepfilled", alpha=0.35, **look, **share)[2]
            axes.hist(shown, histtype="step", color=colour, linewidth=1.3, **share)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("score of the reward model")
        axes.set_ylabel("share of validation responses")
        legend_below(plot, areas)
        save(plot, path)


def calibration_plot(scores: np.ndarray, present: np.ndarray, path: Path) -> None:
    """Draw the share of right responses against what the scores promise, sigmoid(score)."""
    rows = calibration(*responses(scores, present))
    with new_plot(4.0, 3.6) as (plot, axes):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        axes.plot([row["promised"] for row in rows], [row["observed"] for row in rows], "o-", color=POLICY)
        axes.set_xlabel("sigmoid(score)")
        axes.set_ylabel("share of right responses")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        save(plot, path)
