"""Plots as PNG: what every stage draws with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


COLOURS = {"Teacher": "#8a8f98", "ICL": "#c9cdd3", "SFT": "#a9c4e4", "Ours": "#d1632a"}
OTHER = "#6f9bd1"


def accuracy_bars(rows: Mapping[str, Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw accuracies, `value`, `low`, `high` in 0 … 1 by the name of each row, as bars with their intervals."""
    plot, axes = new_plot(6.4, 0.6 + 0.42 * len(rows))
    names = list(rows)[::-1]
    values = [rows[name]["value"] for name in names]
    below = [rows[name]["value"] - rows[name]["low"] for name in names]
    above = [rows[name]["high"] - rows[name]["value"] for name in names]
    axes.barh(names, values, color=[COLOURS.get(name, OTHER) for name in names], height=0.66)
    axes.errorbar(values, names, xerr=[below, above], fmt="none", ecolor="#30343a", elinewidth=1, capsize=2.5)
    for name, value in zip(names, values, strict=True):
        axes.text(max(rows[name]["high"], value) + 0.012, name, f"{value:.3f}", va="center", fontsize=9)
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("accuracy (95 % interval)")
    axes.set_title(title, loc="left", fontsize=10)
    save(plot, path)


def new_plot(width: float, height: float) -> tuple[Any, Any]:
    """A plot with one plain pair of axes, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def save(plot: Any, path: Path) -> None:
    """Save as PNG, without a date in it, so that equal plots are equal files."""
    plot.savefig(path, dpi=150, metadata={"Software": None})


def training_curves(history: Sequence[Mapping[str, Any]], path: Path, figures: Mapping[str, str]) -> None:
    """Draw the training loss (left axis) and validation figures (right axis) of a trainer's `state.log_history`
    against the step; `figures` says how to call each, by its name in the history.
    """
    plot, axes = new_plot(6.4, 3.4)
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
