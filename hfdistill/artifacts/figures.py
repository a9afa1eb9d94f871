"""Figures of a manifest as tables of a card: nested metrics become labelled, readable values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


LONGEST_LIST = 12
INTERVAL = ("value", "low", "high", "n")
# What greedy answers to validation questions are compared with.
BY_VOTE, BY_GOLD = "agreement with the vote on validation questions", "accuracy on validation questions"
# Figures whose keys say too little, by the keys that lead to them; `validation_accuracy` is named by what it compares.
NAMES = {
    ("validation_agreement",): "agreement of samples with each other on validation questions",
    ("validation_agreement_before",): "agreement of samples with each other on validation questions, before",
    ("validation_reward_score",): "belief of the reward model in samples for validation questions",
    ("validation_reward_score_before",): "belief of the reward model in samples for validation questions, before",
    ("validation", "pos_neg"): "validation: Pos/Neg, the student's right answer above its wrong one",
    ("validation", "pos_pos"): "validation: Pos/Pos, the teacher's right answer above the student's right one",
    ("validation", "accuracy"): "validation: sign of the score agrees with the vote",
    ("validation", "auc"): "validation: AUC, a right answer above a wrong one whatever the question",
    ("validation", "calibration_error"): "validation: calibration error, of sigmoid(score) as the share that is right",
    ("validation", "temperature"): "validation: temperature that the scores are divided by",
    ("validation", "calibration_error_before"): "validation: calibration error before that",
    ("all_answers", "pos_neg_of_all_pairs"): "all answers: Pos/Neg of every pair of a question's answers",
    ("all_answers", "one"): "all answers: share that is right",
    ("all_answers", "best"): "all answers: share of questions whose answer with the highest score is right",
    ("all_answers", "auc"): "all answers: AUC, a right answer above a wrong one whatever the question",
    ("all_answers", "length"): "all answers: rank correlation of score and length",
    ("all_answers", "length_of_right"): "all answers: rank correlation of score and length, among right ones",
    ("last_scores",): "score of sampled answers, at the end",
    ("last_kl",): "KL to what it began with, nats an answer, at the end",
    ("last_no_answer_rate",): "share of sampled answers without an answer that can be read, at the end",
    (
        "last_pseudo_label_rate",
    ): "share of sampled answers to labelled questions that agree with the label, at the end",
    ("without_label",): "questions without a label",
    ("unextractable",): "responses without an answer that can be read",
    ("pseudo_labels_right",): "labels that are right by gold",
}
# What pictures and lists are made of, which nobody looks for in a table.
UNTOLD = {"bin", "bins", "listed"}
NONE = "–"
NO_BREAK = "\u00a0"  # a phone breaks no figure in two


@dataclass(frozen=True)
class Table:
    """Figures as cells; the first of each row is its heading."""

    title: str
    headings: list[str]
    rows: list[list[str]]


def validation(stage: Mapping[str, Any]) -> str:
    """What greedy validation by a stage's settings measures: accuracy only where it reads gold answers."""
    return BY_GOLD if stage.get("validation_labels") == "gold" else BY_VOTE


def is_interval(value: Any) -> bool:
    """Whether a metric is an accuracy with its interval: `{"value": …, "low": …, "high": …, "n": …}`."""
    return isinstance(value, dict) and value.keys() >= set(INTERVAL[:3])


def leaves(metrics: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every figure of nested metrics with the keys that lead to it; an accuracy with its interval is one figure.

    A list of mappings is walked by the `name` of each, or by position. Longer lists of numbers, and mappings with a
    `step` each, are histories, which plots show, and are left out.
    """
    if is_interval(metrics):
        yield path, {key: metrics[key] for key in INTERVAL if key in metrics}
        yield from leaves({key: value for key, value in metrics.items() if key not in INTERVAL}, path)
    elif not isinstance(metrics, dict | list | tuple):
        yield path, metrics
    elif isinstance(metrics, dict):
        for key, value in metrics.items():
            yield from leaves(value, (*path, str(key)))
    elif any(isinstance(item, dict) for item in metrics):
        if all(isinstance(item, dict) and "step" in item for item in metrics):
            return
        for index, item in enumerate(metrics):
            name = item.get("name", index) if isinstance(item, dict) else index
            rest = {key: value for key, value in item.items() if key != "name"} if isinstance(item, dict) else item
            yield from leaves(rest, (*path, str(name)))
    elif len(metrics) <= LONGEST_LIST:
        yield path, list(metrics)


def label(path: tuple[str, ...]) -> str:
    """Keys as words: `("test", "pos_neg")` becomes `test: pos neg`."""
    return ": ".join(key.replace("_", " ") for key in path)


def text(value: Any) -> str:
    """A figure as it is read: an accuracy in percent with its interval, other numbers with four digits."""
    if is_interval(value):
        n = f", n = {value['n']:,}" if value.get("n") is not None else ""
        if -1 <= value["value"] <= 1:
            value, low, high = (f"{100 * value[key]:.1f}" for key in ("value", "low", "high"))
            return f"{value} % (95 % interval {low} to {high}{n})"
        return f"{value['value']:.4g} (95 % interval {value['low']:.4g} to {value['high']:.4g}{n})"
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(text(item) for item in value)
    return str(value)


def rows(metrics: dict[str, Any] | None, stage: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """All figures as `(label, text)`; a stage's settings say what its validation compares."""
    words = validation(stage or {})
    names = {**NAMES, ("validation_accuracy",): words, ("validation_accuracy_before",): f"{words}, before"}
    return [(names.get(path) or label(path), text(value)) for path, value in leaves(metrics or {})]


def tables(metrics: dict[str, Any] | None, stage: Mapping[str, Any] | None = None) -> list[Table]:
    """All figures: those that several things have in common as a table of its own each, what is left before them."""
    rest, found = _families(metrics or {}, ())
    single = [list(row) for row in rows(rest, stage)]
    return [*([Table("", ["Figure", "Value"], single)] if single else []), *found]


def _families(metrics: dict[str, Any], path: tuple[str, ...]) -> tuple[dict[str, Any], list[Table]]:
    """Metrics without what tables show, and these tables, those of whole families before those of their members."""
    rest, found = {}, []
    for key, value in metrics.items():
        if key in UNTOLD:
            continue
        if isinstance(value, dict):
            value, below = _families(value, (*path, str(key)))
            found += below
        rest[key] = value
    figures = {key: dict(leaves(value)) for key, value in rest.items() if isinstance(value, dict)}
    # A figure with its interval and a p-value is still one figure.
    figures = {key: own for key, own in figures.items() if len(own) > (2 if () in own else 1)}
    first = next(iter(figures.values()), {})
    alike = {
        key: own for key, own in figures.items() if 2 * len(own.keys() & first.keys()) >= max(len(own), len(first))
    }
    if len(alike) < 2:
        return rest, found
    return {key: value for key, value in rest.items() if key not in alike}, [_table(path, alike), *found]


def _table(path: tuple[str, ...], members: dict[str, dict[tuple[str, ...], Any]]) -> Table:
    """The longer side goes down, so that a phone shows most of it."""
    figures = list(dict.fromkeys(figure for own in members.values() for figure in own))
    cells = [[_short(own[figure]) if figure in own else NONE for figure in figures] for own in members.values()]
    down, across = [str(key).replace("_", " ") for key in members], [label(figure) or "value" for figure in figures]
    if len(across) > len(down):
        down, across, cells = across, down, [list(column) for column in zip(*cells, strict=True)]
    rows_of_cells = [[heading, *row] for heading, row in zip(down, cells, strict=True)]
    values = (value for own in members.values() for value in own.values())
    brackets = " (95 % intervals in brackets)" if any(map(is_interval, values)) else ""
    title = label(path)
    return Table(title[:1].upper() + title[1:] + brackets, ["", *across], rows_of_cells)


def _short(value: Any) -> str:
    """A figure for a table of many: an accuracy with its interval in brackets."""
    if not is_interval(value) or not -1 <= value["value"] <= 1:
        return text(value)
    share, low, high = (f"{100 * value[key]:.1f}" for key in INTERVAL[:3])
    return f"{share} % ({low} to {high})".replace(" ", NO_BREAK).replace(f"{NO_BREAK}(", " (")
