"""Rows of a table against one another, as tables of differences with intervals and tests."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from .document import Block, Figures
from .evidence import MeasuredRow, seeds_of
from .numbers import MINUS, NONE, interval, points, probability, share
from .pictures import draw_intervals
from .statistics import Difference, accuracy, best_with_and_without_model, compare, difference, groups, holm, validated
from .tables import ReportedTable
from .verdict import labels_in_words
from .votes import pairs_in_order, vote_accuracies, vote_differences


READINGS = {1: "better", 0: "no difference shown", -1: "worse"}
MEASURED = ("points", "95 % interval", "reading")
OF_BOTH = (
    "Points: percentage points, the first less the second; seeds above: in how many the first is ahead; right alone: "
)
OF_PAIRS = f"{OF_BOTH}how many answers only the first, and only the second, has right."
OF_SAMPLES = f"{OF_BOTH}how many questions the first, and the second, answers right more often."
WAYS_SHOWN = {
    "majority": "majority (maj@k)",
    "weighted": "weighted by σ(score)",
    "best": "best by score",
    "any": "any right (pass@k)",
}


def differences(table: ReportedTable, rows: Sequence[MeasuredRow], sampled: bool = False) -> Iterator[Block]:
    """The comparisons that a table declares, of greedy answers or of samples."""
    by_name = {row.name: row for row in rows}
    pairs = [tuple(by_name[name] for name in pair) for pair in table.comparisons if by_name.keys() >= {*pair}]
    found = {f"{first.name} {MINUS} {second.name}": compare(first, second, sampled) for first, second in pairs}
    found = {name: made for name, made in found.items() if made}
    if not found:
        return
    adjusted = holm([made.p for made in found.values()])
    cells = [
        [name, *_measured(made), *_tested(made), probability(p)]
        for (name, made), p in zip(found.items(), adjusted, strict=True)
    ]
    tests = ("seeds above", "right alone: first / second", "McNemar's p", "p by Holm")
    of = "one sample's accuracy" if sampled else "accuracy"
    yield Figures(
        f"Differences in {of} on the same questions",
        ("rows", *MEASURED, *tests),
        cells,
        legend=OF_SAMPLES if sampled else OF_PAIRS,
    )
    drawn = {
        name: {"value": 100 * made.value, "low": 100 * made.low, "high": 100 * made.high}
        for name, made in found.items()
    }
    name = f"{table.table}-sampled-differences" if sampled else f"{table.table}-differences"
    yield draw_intervals(name, drawn, f"Differences in {of} with their 95 % intervals.", "points of accuracy")


def accuracies(
    caption: str, right: Mapping[str, Mapping[int, Mapping[str, float]]], about: str | None = None
) -> tuple[dict[str, dict[str, float]], Figures]:
    """Accuracies of rows and those of each seed, of what was right by row, seed and question: each row's with its
    interval, and all as a table that is `about` one of them.
    """
    seeds = sorted({seed for by_seed in right.values() for seed in by_seed})
    made = {name: accuracy([list(asked.values()) for asked in by_seed.values()]) for name, by_seed in right.items()}
    cells = [
        [name, share(made[name]["value"]), interval(made[name])]
        + [share(mean(by_seed[seed].values())) if seed in by_seed else NONE for seed in seeds]
        for name, by_seed in right.items()
    ]
    headings = ("row", "accuracy", "95 % interval", *(f"seed {seed}" for seed in seeds))
    return made, Figures(caption, headings, cells, about)


def samples(table: ReportedTable, rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    """What one sampled answer is worth, which tells policies apart whose greedy answers are all right or all wrong."""
    sampled = [row for row in rows if row.sampled_right]
    if not sampled:
        return
    temperatures = " or ".join(dict.fromkeys(f"{row.vote_temperature:g}" for row in sampled))
    caption = f"Accuracy of one answer sampled at temperature {temperatures}: mean over seeds, and each seed"
    yield accuracies(caption, {row.name: row.sampled_right for row in sampled})[1]
    yield from differences(table, rows, sampled=True)


def chosen(rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    """The best of several rows with a reward model against the best without, of those with the same labels."""
    cells = []
    for group in groups(rows):
        pair = best_with_and_without_model(group) if sum(row.asks_model for row in group) > 1 else None
        if pair and (made := compare(*pair)):
            figures = [share(validated(row, seeds_of(pair))) for row in pair]
            told = [_in_one(made), _in_one(compare(*pair, sampled=True))]
            cells.append([labels_in_words(pair[1]), *(row.name for row in pair), *figures, *told])
    if cells:
        caption = (
            "The best with a reward model against the best without, both chosen on validation questions, on test "
            "questions"
        )
        names = ("with a model", "without a model", "validation, with", "validation, without")
        headings = ("labels", *names, "greedy answers, points", "one sample, points")
        legend = (
            "Validation: agreement of samples with each other, or with labels where that was not measured. Rows that "
            "gold answers helped are not chosen from."
        )
        yield Figures(caption, headings, cells, legend=legend)


def votes(rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    """What several samples a question come to, and whether the reward model helps their vote."""
    shares, cells, pairs = [], [], []
    for row in rows:
        one = mean(mean(right.values()) for right in row.sampled_right.values()) if row.sampled_right else None
        if (ordered := pairs_in_order(row)) is not None:
            pairs.append([row.name, share(ordered)])
        for count, made in vote_accuracies(row).items():
            told = (
                f"{share(made[way]['value'])} {interval(made[way])}" if way in made else NONE for way in WAYS_SHOWN
            )
            shares.append([f"{row.name}, {count} samples", share(one), *told])
        for way in ("weighted", "best"):
            for found in vote_differences(row, way).values():
                name = f"{row.name}: {found.first} {MINUS} {found.second}"
                cells.append([name, *_measured(found), *_tested(found)])
    if shares:
        caption = "Several samples a question: accuracy of what is made of them, with 95 % intervals"
        legend = (
            "One of them: the mean accuracy of a single sample; weighted: a vote in which each sample counts by the "
            "sigmoid of its score; best by score: the sample with the highest score; any right: whether one of them "
            "is."
        )
        yield Figures(caption, ("row", "one of them", *WAYS_SHOWN.values()), shares, legend=legend)
    if cells:
        tests = ("seeds above", "right alone: first / second", "McNemar's p")
        caption = "The reward model in the vote, against the majority of the same samples"
        yield Figures(caption, ("votes", *MEASURED, *tests), cells, legend=OF_PAIRS)
    if pairs:
        caption = "Pos/Neg of these samples by gold"
        legend = (
            "Of the pairs of a right and a wrong sample to one question the share whose right one scores higher; 0.5 "
            "is chance."
        )
        yield Figures(caption, ("samples of", "Pos/Neg"), pairs, legend=legend)


def moved_labels(rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    """Labels that the student's own vote gave, against golds, beside what the teacher said most often; where the gold
    answer was bought they are left out.

    Where there was no label, the answer that leads the student's vote is compared with the one that leads the
    teacher's, whether a label came of it or not; where there was one, the label with that before.
    """
    cells = []
    for row in rows:
        for scope, labelled in (("no label", False), ("a label", True)):
            judged = {
                seed: [one for one in those if one["labelled"] is labelled and not one["bought"]]
                for seed, those in row.moved.items()
            }
            judged = {seed: those for seed, those in judged.items() if those}
            if judged:
                told = ("careful", "all", "leading", "stands", "moved")
                shares = (share(accuracy(_each(judged, name))["value"]) for name in told)
                first, second = ("moved", "before") if labelled else ("leading", "all")
                pairs = zip(_each(judged, first), _each(judged, second), strict=True)
                found = difference(first, second, dict(zip(judged, pairs, strict=True)))
                asked = f"{sum(map(len, judged.values())):,}"
                name = f"{row.name}, questions with {scope}"
                cells.append([name, asked, *shares, *_measured(found), *_tested(found)])
    if cells:
        caption = "Labels that moved, by golds"
        legend = (
            "How often the answers that lead the teacher's vote and the student's last one are right, and the shares "
            "of questions that have a label at the end, and a right one. Points: the student's vote less the "
            "teacher's at all temperatures, or, where a label was before, the label at the end less that."
        )
        said = (
            *("questions", "teacher's vote, careful", "teacher's vote, all temperatures", "student's vote"),
            *("labelled at the end", "labelled right"),
        )
        tests = ("seeds above", "right alone: first / second", "McNemar's p")
        yield Figures(caption, ("row", *said, *MEASURED, *tests), cells, legend=legend)


def _each(judged: Mapping[int, Sequence[Mapping[str, Any]]], name: str) -> list[list[bool]]:
    return [[one[name] for one in those] for those in judged.values()]


def _measured(made: Difference) -> list[str]:
    return [points(made.value), f"[{points(made.low)}, {points(made.high)}]", READINGS[made.verdict]]


def _in_one(made: Difference | None) -> str:
    if made is None:
        return NONE
    value, around, reading = _measured(made)
    return f"{value} {around}, {reading}"


def _tested(made: Difference) -> list[str]:
    above = sum(value > 0 for value in made.by_seed.values())
    return [f"{above} of {len(made.by_seed)}", f"{made.gained:,} / {made.lost:,}", probability(made.p)]
