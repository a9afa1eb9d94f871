"""Pictures of a report as SVG with text in it: they are as sharp in print as on a phone, and follow light and dark."""

import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..plots import COLOURS, OTHER, POLICY, RIGHT, TEACHER, WARMUP, WRONG, bare_plot, tones
from .document import Picture


INK = "#23272e"  # the page puts its own colour of text in place of it
GRID = "#8a8f98"
# In the order in which a picture's lines take them; each has a mark of its own for who cannot tell the colours.
LINES = tuple(
    zip(
        (POLICY, "#4f86c6", WARMUP, TEACHER, "#c0577c", "#7d848f", "#2f9199", "#a98420"),
        "os^DvPX*",
        strict=True,
    )
)
WIDTH = 4.6  # inches: a phone shows it in one column nearly as large as it is drawn


def draw_intervals(
    name: str, rows: Mapping[str, Mapping[str, float]], caption: str, axis: str, bold: str | None = None
) -> Picture:
    """Points with what is known of them, `value` between `low` and `high`, a line each by its name."""
    with _drawing(WIDTH, 0.7 + 0.25 * len(rows)) as (plot, axes):
        for place, (label, row) in enumerate(rows.items()):
            colour = COLOURS["Ours"] if label == bold else OTHER
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([row["value"]], [place], "o", color=colour, markersize=4.5)
        if min(row["low"] for row in rows.values()) < 0:
            axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(axis)
        axes.grid(axis="x", color=GRID, alpha=0.3, linewidth=0.6)
        svg = _svg(plot, name)
    told = (f"{label} {row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})" for label, row in rows.items())
    return Picture(name, svg, f"{caption} {'; '.join(told)}.", caption)


def draw_lines(
    name: str, lines: Mapping[str, Sequence[tuple[float, float]]], caption: str, axes_names: tuple[str, str]
) -> Picture:
    """Lines through points `(x, y)`, by their names."""
    with _drawing(WIDTH, 3.1 + 0.19 * ((len(lines) + 1) // 2)) as (plot, axes):
        # The method's own line looks the same in every picture.
        looks = dict(zip(sorted(lines, key="Ours".__ne__), _looks(len(lines)), strict=True))
        for label, points in lines.items():
            colour, mark = looks[label]
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, color=colour, marker=mark, markersize=3.2, linewidth=1.4, label=label)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        axes.grid(color=GRID, alpha=0.25, linewidth=0.6)
        plot.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
        svg = _svg(plot, name)
    told = "; ".join(f"{label} from {points[0][1]:.3f} to {points[-1][1]:.3f}" for label, points in lines.items())
    return Picture(name, svg, f"{caption} {axes_names[1]} against {axes_names[0]}: {told}", caption)


def draw_scores(name: str, right: Sequence[float], wrong: Sequence[float], caption: str) -> Picture:
    """How the scores of right and of wrong answers are spread, each as shares of its own number."""
    import numpy as np

    edges = np.linspace(min(*right, *wrong) - 1e-6, max(*right, *wrong) + 1e-6, 31)
    with _drawing(WIDTH, 2.9) as (plot, axes):
        shown = ((wrong, "wrong", WRONG, "/"), (right, "right", RIGHT, None))
        for scores, words, colour, hatch in shown:
            weights = np.full(len(scores), 1 / len(scores))
            label = f"{words} ({len(scores):,})"
            axes.hist(scores, bins=edges, weights=weights, histtype="stepfilled", alpha=0.4, color=colour, hatch=hatch)
            axes.hist(scores, bins=edges, weights=weights, histtype="step", color=colour, linewidth=1.3, label=label)
        axes.set_xlabel("score of the reward model")
        axes.set_ylabel("share of answers")
        plot.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
        svg = _svg(plot, name)
    alt = f"{caption} Mean score of right answers {np.mean(right):.2f}, of wrong ones {np.mean(wrong):.2f}."
    return Picture(name, svg, alt, caption)


def as_file(picture: Picture) -> str:
    """The picture as a file of its own: on white, since whoever shows it may be dark."""
    white = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return re.sub(r"(<svg\b[^>]*>)", rf"\1{white}", picture.svg, count=1)


def as_part_of_a_page(picture: Picture) -> str:
    """The picture in the colour of the text around it, as wide as there is room for."""
    svg = picture.svg.replace(INK, "currentColor")
    width = re.search(r'\bwidth="([\d.]+)pt"', svg)[1]
    svg = re.sub(r'\s(width|height)="[\d.]+pt"', "", svg, count=2)
    look = f'role="img" aria-label="{html.escape(picture.alt)}" style="max-width:{float(width) * 4 / 3:.0f}px"'
    return svg.replace("<svg", f"<svg {look}", 1)


def _looks(count: int) -> Iterator[tuple[str, str]]:
    """A colour and a mark for each of so many lines; past eight they come again in other pairs."""
    for place in range(count):
        colour, mark = LINES[place % len(LINES)][0], LINES[(place + place // len(LINES)) % len(LINES)][1]
        yield colour, mark


@contextmanager
def _drawing(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A plot whose lines and text are ink."""
    from matplotlib import rc_context

    style = {"svg.fonttype": "none", "svg.hashsalt": "hfdistill", "axes.labelsize": 9, "hatch.linewidth": 0.5}
    with tones(INK), rc_context(style):
        plot, axes = bare_plot(width, height)
        axes.tick_params(labelsize=8.5)
        yield plot, axes


def _svg(plot: Any, name: str) -> str:
    """A plot as the text of an `svg` element; its ids begin with the name, as several stand in one page."""
    written = io.StringIO()
    plot.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*;", "font-family: system-ui, sans-serif;", svg)
    svg = svg.replace("<svg", '<svg stroke-linejoin="round"', 1)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg).strip() + "\n"
