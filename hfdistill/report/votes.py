"""Several samples a question: what a majority, the best by score or a weighted vote of them come to, over seeds."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean
from typing import Any

from ..evaluation.votes import outcome
from .evidence import MeasuredRow
from .statistics import Difference, accuracy, difference
from .tables import ReportedTable


MAIN = "main"
WAYS = ("majority", "best", "weighted", "any")
Outcomes = dict[int, dict[str, list[bool]]]  # by seed and way, for each question in order


def table_of_votes(tables: Sequence[tuple[ReportedTable, Sequence[MeasuredRow]]]) -> str | None:
    """The table whose samples tell what votes come to: `main` where it has some, and else the first that has. One of
    them tells it for all, whose rows are many and often the same.
    """
    named = [table.table for table, rows in tables if any(row.sampled_right for row in rows)]
    return MAIN if MAIN in named else next(iter(named), None)


def vote_outcomes(row: MeasuredRow) -> dict[int, Outcomes]:
    """By number of samples, whether each question comes out right by each of `WAYS`, of the first so many samples."""
    found: dict[int, Outcomes] = {}
    for seed, samples in row.samples.items():
        questions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for sample in sorted(samples, key=lambda sample: sample["sample"]):
            questions[sample["question_id"]].append(sample)
        for count in row.votes:
            made = [outcome(asked[:count], row.same) for asked in questions.values()]
            ways = [way for way in WAYS if all(way in each for each in made)]
            found.setdefault(count, {})[seed] = {way: [each[way] for each in made] for way in ways}
    return found


def pairs_in_order(row: MeasuredRow) -> float | None:
    """Pos/Neg by gold: of all pairs of a right and a wrong response to one test question, equal texts once, the share
    whose right one scores higher, mean over seeds; ties count one half.
    """
    shares = []
    for samples in row.samples.values():
        by_question: dict[str, tuple[dict[str, float], dict[str, float]]] = defaultdict(lambda: ({}, {}))
        for sample in samples:
            if sample["score"] is not None:
                by_question[sample["question_id"]][sample["correct"]][sample["response"]] = sample["score"]
        pairs = [
            (right > wrong) + 0.5 * (right == wrong)
            for wrongs, rights in by_question.values()
            for right in rights.values()
            for wrong in wrongs.values()
        ]
        if pairs:
            shares.append(mean(pairs))
    return mean(shares) if shares else None


def vote_accuracies(row: MeasuredRow) -> dict[int, dict[str, dict[str, float]]]:
    """By number of samples and way, the accuracy with its interval over seeds and questions; `any` is pass@k."""
    return {
        count: {way: accuracy([made[way] for made in by_seed.values()]) for way in _ways(by_seed)}
        for count, by_seed in vote_outcomes(row).items()
    }


def vote_differences(row: MeasuredRow, way: str, to: str = "majority") -> dict[int, Difference]:
    """By number of samples, one way of using them against another, on the same samples."""
    return {
        count: difference(
            f"{way} of {count}", f"{to} of {count}", {seed: (made[way], made[to]) for seed, made in by_seed.items()}
        )
        for count, by_seed in vote_outcomes(row).items()
        if way in _ways(by_seed)
    }


def _ways(by_seed: Outcomes) -> list[str]:
    return [way for way in WAYS if all(way in made for made in by_seed.values())]
