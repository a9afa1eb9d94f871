"""Curves of a training, as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .plots import new_figure, save


def training_curves(history: Sequence[Mapping[str, Any]], path: Path, figures: Mapping[str, str]) -> None:
    """Draw the training loss (left axis) and validation figures (right axis) against the step.

    Args:
        history (`Sequence[Mapping]`): a trainer's `state.log_history`.
        path (`Path`): the PNG.
        figures (`Mapping[str, str]`): validation figures to draw, by their name in the history, and how to call them.
    """
    plot, axes = new_figure(6.4, 3.4)
    losses = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    axes.plot(*zip(*losses, strict=True) if losses else ([], []), color="#8a8f98", linewidth=1, label="training loss")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats)")
    right = axes.twinx()
    right.spines["top"].set_visible(False)
    for (name, words), colour in zip(figures.items(), ("#d1632a", "#6f9bd1", "#5a8f5a"), strict=False):
        points = [(entry["step"], entry[name]) for entry in history if name in entry]
        right.plot(*zip(*points, strict=True) if points else ([], []), "o-", color=colour, markersize=3, label=words)
    right.set_ylim(0, 1.02)
    right.set_ylabel("validation")
    handles = [*axes.get_lines(), *right.get_lines()]
    axes.legend(handles, [line.get_label() for line in handles], fontsize=8, frameon=False, loc="center right")
    save(plot, path)
