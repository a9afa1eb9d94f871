"""Plots as PNG: what every stage draws with.

They are drawn on nothing, in tones of which each stands out from white and from a dark page: a card's picture cannot
know which it is shown on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


INK = "#717885"  # 4.4 : 1 on white and on the Hub's dark ground
# The colours of the comparison Space: who answers, and how it fared.
TEACHER, STUDENT, WARMUP, POLICY = "#7a5cff", "#7a8699", "#c97700", "#0b8f6f"
RIGHT, WRONG = "#0b8f6f", "#d0453b"
COLOURS = {
    "Teacher": TEACHER,
    "ICL": STUDENT,
    "SFT": STUDENT,
    "Ours w/o R": WARMUP,
    "Ours w/o D": POLICY,
    "Ours": POLICY,
}
OTHER = "#4f86c6"
INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")


def accuracy_bars(rows: Mapping[str, Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw accuracies, `value`, `low`, `high` in 0 … 1 by the name of each row, as bars with their intervals."""
    with new_plot(6.4, 0.7 + 0.42 * len(rows)) as (plot, axes):
        names = list(rows)[::-1]
        values = [rows[name]["value"] for name in names]
        below = [rows[name]["value"] - rows[name]["low"] for name in names]
        above = [rows[name]["high"] - rows[name]["value"] for name in names]
        axes.barh(names, values, color=[COLOURS.get(name, OTHER) for name in names], height=0.66)
        axes.errorbar(values, names, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=1.4, capsize=2.5)
        for name, value in zip(names, values, strict=True):
            axes.text(max(rows[name]["high"], value) + 0.012, name, f"{value:.3f}", va="center", fontsize=9)
        axes.set_xlim(0, 1.12)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel("accuracy (95 % interval)")
        axes.set_title(title, loc="left", fontsize=10)
        save(plot, path)


@contextmanager
def tones(ink: str = INK) -> Iterator[None]:
    """What is drawn within has lines and text of this colour."""
    from matplotlib import rc_context

    with rc_context(dict.fromkeys(INKED, ink)):
        yield


@contextmanager
def new_plot(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A plot with one plain pair of axes, in the tones of a card."""
    with tones():
        yield bare_plot(width, height)


def bare_plot(width: float, height: float) -> tuple[Any, Any]:
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
    plot.savefig(path, dpi=150, transparent=True, metadata={"Software": None})


def share_limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis of shares that fit these: all of 0 … 1, unless they lie close together."""
    if not values:
        return 0.0, 1.02
    low, high = min(values), max(values)
    room = max(0.15 * (high - low), 0.02)
    return (max(low - room, 0.0), min(high + room, 1.02)) if high - low < 0.5 else (-0.02, 1.02)


def legend_below(plot: Any, lines: Sequence[Any]) -> None:
    """Name lines and areas below the axes, where nothing is drawn."""
    labels = [line.get_label() for line in lines]
    plot.legend(lines, labels, loc="outside lower center", ncols=min(len(lines), 2), fontsize=8.5, frameon=False)


def training_curves(history: Sequence[Mapping[str, Any]], path: Path, figures: Mapping[str, str]) -> None:
    """Draw the training loss (left axis) and validation figures (right axis) of a trainer's `state.log_history`
    against the step; `figures` says how to call each, by its name in the history.
    """
    with new_plot(6.4, 3.8) as (plot, axes):
        losses = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
        handles = axes.plot(
            *zip(*losses, strict=True) if losses else ([], []), color=INK, linewidth=1, label="training loss"
        )
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats)")
        right, shares = axes.twinx(), []
        right.spines["top"].set_visible(False)
        for (name, words), colour in zip(figures.items(), (POLICY, OTHER, WARMUP), strict=False):
            points = [(entry["step"], entry[name]) for entry in history if name in entry]
            if points:
                shares += [value for _, value in points]
                handles += right.plot(*zip(*points, strict=True), "o-", color=colour, markersize=3.5, label=words)
        right.set_ylim(*share_limits(shares))
        right.set_ylabel("validation")
        legend_below(plot, handles)
        save(plot, path)
