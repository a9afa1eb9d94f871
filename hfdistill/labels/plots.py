"""The statistics of labels as pictures, among them Figures 3 and 4 of the paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..plots import INK, OTHER, RIGHT, WARMUP, WRONG, bare_plot, legend_below, save, share_limits, tones
from .labeler import CORRECT, INCORRECT


def draw(statistics: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Draws them as PNG.

    Args:
        statistics (`Mapping`): from [`~hfdistill.labels.statistics.LabelStatistics.result`].
        folder (`str` or `Path`): made if need be.

    Returns:
        `list[Path]`: the files, those of which there was something to draw.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with tones():
        for name, make in PLOTS.items():
            plot = make(statistics)
            if plot is not None:
                save(plot, folder / f"{name}.png")
                drawn.append(folder / f"{name}.png")
    return drawn


def _without_label(statistics: Mapping[str, Any]) -> Any:
    """Figure 3, by category where there are categories."""
    whole = statistics.get("without_label")
    if whole is None:
        return None
    shares = {"all questions": whole["value"]}
    for category, row in statistics.get("by_category", {}).items():
        shares[f"{category} ({row['questions']:,})"] = row["without_label"]
    plot, axes = bare_plot(6.4, 0.9 + 0.3 * len(shares))
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=[OTHER] * (len(names) - 1) + [INK])
    for name in names:
        axes.text(shares[name] + 0.01, name, f"{shares[name]:.1%}", va="center", fontsize=8)
    axes.set(
        xlim=(0, min(1.1, 1.25 * max(shares.values()) + 0.08)), xlabel="share of questions without a reliable label"
    )
    axes.set_title(f"The teacher's vote settles on no answer (n = {whole['n']:,})", loc="left", fontsize=10)
    return plot


def _against_gold(statistics: Mapping[str, Any]) -> Any:
    """Figure 4: what the teacher takes for incorrect and correct, by gold."""
    table = statistics.get("labels_against_gold")
    if table is None:
        return None
    plot, axes = bare_plot(5.2, 3.4)
    names = [INCORRECT, CORRECT]
    right = [table[name]["right"] for name in names]
    wrong = [table[name]["wrong"] for name in names]
    bars = [
        axes.bar(names, right, color=RIGHT, width=0.6, label="right by gold"),
        axes.bar(names, wrong, bottom=right, color=WRONG, width=0.6, label="wrong by gold", hatch="//"),
    ]
    for place, (good, bad) in enumerate(zip(right, wrong, strict=True)):
        if good + bad:
            axes.text(place, good + bad, f"{good / (good + bad):.1%} right", ha="center", va="bottom", fontsize=9)
    axes.set(xlabel="label by the teacher's vote", ylabel="responses")
    axes.margins(y=0.12)
    legend_below(plot, bars)
    axes.set_title("The teacher's labels against gold", loc="left", fontsize=10)
    return plot


def _vote_shares(statistics: Mapping[str, Any]) -> Any:
    shares = statistics["vote_shares"]
    if not sum(shares["counts"]):
        return None
    plot, axes = _histogram(shares["counts"], 1 / shares["bins"])
    axes.set(xlabel="share of the votes for the leading answer", ylabel="questions")
    axes.set_title("How sure the vote is", loc="left", fontsize=10)
    return plot


def _histogram(counts: Sequence[int], width: float) -> tuple[Any, Any]:
    plot, axes = bare_plot(6.4, 3.0)
    middles = [(place + 0.5) * width for place in range(len(counts))]
    axes.bar(middles, counts, width=width * 0.9, color=OTHER)
    return plot, axes


def _by_temperature(statistics: Mapping[str, Any]) -> Any:
    rows = {name: row for name, row in statistics["by_temperature"].items() if name != "unknown"}
    if not rows:
        return None
    plot, axes = bare_plot(6.4, 3.6)
    lines = (
        ("right", "right by gold", RIGHT, "o"),
        ("labelled_correct", "correct by label", OTHER, "s"),
        ("duplicates", "duplicates", WARMUP, "^"),
        ("unextractable", "without answer", INK, "v"),
    )
    drawn, shares = [], []
    for key, label, colour, mark in lines:
        points = [(float(name), row[key]) for name, row in rows.items() if row[key] is not None]
        if points:
            drawn += axes.plot(*zip(*points, strict=True), marker=mark, markersize=4, color=colour, label=label)
            shares += [share for _, share in points]
    axes.set(ylim=share_limits(shares), xlabel="temperature", ylabel="share of responses")
    legend_below(plot, drawn)
    axes.set_title("Responses by temperature", loc="left", fontsize=10)
    return plot


def _lengths(statistics: Mapping[str, Any]) -> Any:
    lengths = statistics.get("lengths")
    if not lengths or not lengths["counts"]:
        return None
    plot, axes = _histogram(lengths["counts"], lengths["bin"])
    axes.axvline(lengths["median"], color=INK, linewidth=1.4)
    axes.set_xlim(0, min(lengths["longest"] * 1.05 + 1, len(lengths["counts"]) * lengths["bin"]))
    axes.set(xlabel=f"{lengths['unit']} a response (line: median, {lengths['median']:,})", ylabel="responses")
    axes.set_title("Lengths", loc="left", fontsize=10)
    return plot


def _finish_reasons(statistics: Mapping[str, Any]) -> Any:
    reasons = statistics["finish_reasons"]
    if not reasons or set(reasons) == {"unknown"}:
        return None
    plot, axes = bare_plot(6.4, 0.9 + 0.35 * len(reasons))
    names = sorted(reasons, key=reasons.__getitem__)
    total = sum(reasons.values())
    axes.barh(names, [reasons[name] / total for name in names], color=OTHER, height=0.6)
    for name in names:
        axes.text(reasons[name] / total + 0.01, name, f"{reasons[name]:,}", va="center", fontsize=9)
    axes.set(xlim=(0, 1.15), xlabel="share of responses")
    axes.set_title("Why responses ended", loc="left", fontsize=10)
    return plot


PLOTS = {
    "without_label": _without_label,
    "labels_against_gold": _against_gold,
    "vote_shares": _vote_shares,
    "by_temperature": _by_temperature,
    "lengths": _lengths,
    "finish_reasons": _finish_reasons,
}
