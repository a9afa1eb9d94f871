"""Pictures of the trainings and scores behind a table: learning curves, KL against gain, scores of right and wrong."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from ..evaluation.paper_rows import OURS
from .document import Picture
from .evidence import MeasuredRow
from .pictures import draw_lines, draw_scores
from .verdict import labels_in_words


Curve = Sequence[Mapping[str, Any]]

# Figures of validations that are drawn against episodes, and what they are.
DRAWN = {
    "accuracy": "Greedy answers to validation questions that agree with their labels",
    "agreement": "Samples for validation questions that give the answer which most of them give",
}


def draw_training(table: str, rows: Sequence[MeasuredRow]) -> Iterator[Picture]:
    """Every picture of a table's trainings, a set for each of the labels that rows learned from, and of its scores."""
    by_labels: dict[str | None, list[MeasuredRow]] = {}
    for row in rows:
        if row.trained("metrics", "curve"):
            by_labels.setdefault(row.labels, []).append(row)
    for place, group in enumerate(by_labels.values()):
        name, of = f"{table}-{place}", f" (labels: {labels_in_words(group[0])})" if len(by_labels) > 1 else ""
        for figure, title in DRAWN.items():
            caption = f"{title}{of}: means over seeds; a training that ended early keeps its last figure."
            if lines := {row.name: points for row in group if len(points := mean_points(row, figure)) > 1}:
                yield draw_lines(f"{name}-{figure}", lines, caption, ("episodes", "share of answers"))
        if lines := {row.name: points for row in group if len(points := gain_against_kl(row)) > 1}:
            caption = f"What was gained for how far the policy went{of}: a point a validation, means over seeds."
            yield draw_lines(f"{name}-kl", lines, caption, ("KL to the warm-up (nats an answer)", "gain in accuracy"))
    yield from _scores(table, rows)


def mean_points(row: MeasuredRow, figure: str) -> list[tuple[float, float]]:
    """A figure of the curves against episodes, `(episodes, mean over seeds)`; a curve that ended keeps its last value.

    An average over those that still train would be one over other seeds at each point.
    """
    curves = [_points(curve, "episodes", figure) for curve in row.trained("metrics", "curve").values()]
    curves = [curve for curve in curves if curve]
    places = sorted({x for curve in curves for x, _ in curve})
    return [(x, mean(_at(curve, x) for curve in curves)) for x in places]


def gain_against_kl(row: MeasuredRow) -> list[tuple[float, float]]:
    """`(KL, accuracy less that of the start)` at each validation, means over seeds. The start is at no distance."""
    accuracies, distances = mean_points(row, "accuracy"), dict(mean_points(row, "kl"))
    distances |= {x: 0.0 for x, _ in accuracies[:1]}
    return [(distances[x], value - accuracies[0][1]) for x, value in accuracies if x in distances]


def _points(curve: Curve, x: str, y: str) -> list[tuple[float, float]]:
    return [(entry[x], entry[y]) for entry in curve if entry.get(x) is not None and entry.get(y) is not None]


def _at(curve: Sequence[tuple[float, float]], x: float) -> float:
    """The last value up to `x`, the first before."""
    return next((value for place, value in reversed(curve) if place <= x), curve[0][1])


def _scores(table: str, rows: Sequence[MeasuredRow]) -> Iterator[Picture]:
    """Of rows that were sampled; where none was, of the greedy answers of the method's own row."""
    drawn = [row for row in rows if any(row.samples.values())]
    for place, row in enumerate(drawn or [row for row in rows if row.name == OURS.name]):
        answers = [answer for seed in (row.samples if drawn else row.answers).values() for answer in seed]
        scores: dict[bool, list[float]] = {True: [], False: []}
        for answer in answers:
            if answer.get("score") is not None:
                scores[bool(answer["correct"])].append(answer["score"])
        if all(scores.values()):
            what = "samples" if drawn else "greedy answers"
            caption = f"{row.name}: scores of right and wrong {what} to test questions, all seeds."
            yield draw_scores(f"{table}-scores-{place}", scores[True], scores[False], caption)
