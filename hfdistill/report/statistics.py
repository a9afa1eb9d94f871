"""What a table's figures say: accuracies, differences and tests over seeds and questions, and choices made fairly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from ..errors import HFDistillError
from ..evaluation.paired import mcnemar, paired_over_seeds
from .evidence import MeasuredRow, seeds_of


def accuracy(right: Sequence[Sequence[float]]) -> dict[str, float]:
    """Mean accuracy over seeds with its 95 % interval: the difference to a model that is never right.

    Args:
        right (`Sequence[Sequence[float]]`): for each seed, whether each question was answered right, or by which share
            of the samples.

    Returns:
        `dict[str, float]`: `value`, `low`, `high`, `seeds` and `n`, see
        [`~hfdistill.evaluation.paired.paired_over_seeds`].
    """
    return paired_over_seeds(right, [[0] * len(answers) for answers in right])


@dataclass(frozen=True)
class Difference:
    """How much better one row is than another on the same questions.

    Attributes:
        first (`str`), second (`str`): names of the rows.
        value (`float`), low (`float`), high (`float`): accuracy of the first less the second's, with its 95 %
            interval over seeds and questions.
        by_seed (`dict[int, float]`): the same of each seed.
        gained (`int`), lost (`int`): questions of all seeds that only the first, or only the second, answered right;
            of samples: more often than the other.
        p (`float`): McNemar's exact test on these, pooled: it knows nothing of the chance of training.
    """

    first: str
    second: str
    value: float
    low: float
    high: float
    by_seed: dict[int, float]
    gained: int
    lost: int
    p: float

    @property
    def verdict(self) -> int:
        """1 where the interval says better, -1 where it says worse, 0 where it holds zero."""
        return (self.low > 0) - (self.high < 0)


def compare(first: MeasuredRow, second: MeasuredRow, sampled: bool = False) -> Difference | None:
    """The paired difference of two rows' greedy answers, or of their samples, on the seeds that both have; `None`
    without any.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if they answered other questions.
    """
    pairs = {}
    of_first, of_second = ((row.sampled_right if sampled else row.right) for row in (first, second))
    for seed in sorted(of_first.keys() & of_second.keys()):
        ours, theirs = of_first[seed], of_second[seed]
        if ours.keys() != theirs.keys():
            raise HFDistillError(
                f"rows {first.name!r} and {second.name!r} of seed {seed} answered other questions, and cannot be "
                "compared: evaluate both again with the same section `task`"
            )
        pairs[seed] = list(ours.values()), [theirs[question_id] for question_id in ours]
    return difference(first.name, second.name, pairs) if pairs else None


def difference(first: str, second: str, pairs: Mapping[int, tuple[Sequence[float], Sequence[float]]]) -> Difference:
    """The same of two lists of answers a seed, in one order of questions: whether, or how often, each was right."""
    made = paired_over_seeds([ours for ours, _ in pairs.values()], [theirs for _, theirs in pairs.values()])
    ours = [right for answers, _ in pairs.values() for right in answers]
    theirs = [right for _, answers in pairs.values() for right in answers]
    pairwise = list(zip(ours, theirs, strict=True))
    return Difference(
        first,
        second,
        **{name: made[name] for name in ("value", "low", "high")},
        by_seed={seed: mean(our) - mean(their) for seed, (our, their) in pairs.items()},
        gained=sum(our > their for our, their in pairwise),
        lost=sum(their > our for our, their in pairwise),
        p=mcnemar(ours, theirs),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment of the p-values of tests that are read together, in their order: each stays below a level only
    where the chance of any false discovery among them does.
    """
    ordered = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(ordered):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def validated(row: MeasuredRow, seeds: Sequence[int]) -> float | None:
    """How good a row's policies were on validation questions, mean over these seeds, `None` where one of them was not
    validated: their agreement with themselves where all logged it, which sees questions without a label, and else
    their accuracy by labels.
    """
    found = {}
    for seed, metrics in row.trained("metrics").items():
        if (accuracy := metrics.get("validation_accuracy")) is not None:
            curve = {point["step"]: point for point in metrics.get("curve", ())}
            published = curve.get(metrics.get("best_step", max(curve, default=None)), {})
            found[seed] = (published.get("agreement"), accuracy["value"])
    if not seeds or not found.keys() >= set(seeds):
        return None
    agreements = [found[seed][0] for seed in seeds]
    return mean(found[seed][1] for seed in seeds) if None in agreements else mean(agreements)


def groups(rows: Sequence[MeasuredRow]) -> list[list[MeasuredRow]]:
    """Rows with a policy that learned from the same labels, in order: what may be compared with one another."""
    found: dict[Any, list[MeasuredRow]] = {}
    for row in rows:
        if row.rewards:
            found.setdefault(row.labels, []).append(row)
    return list(found.values())


def best_with_and_without_model(group: Sequence[MeasuredRow]) -> tuple[MeasuredRow, MeasuredRow] | None:
    """Of rows with the same labels, the best whose reward model had a part in it, and the best without; `None` where
    there is no such one, or no row of the vote alone.

    The best has the largest figure of [`validated`], the first of equal ones; without a model it is the vote where
    nothing is validated. Test questions have no part in the choice, so that its figures on them are not those of a
    winner picked by luck. Rows that gold answers helped are left out.
    """
    vote = next((row for row in group if row.is_vote), None)
    if vote is None:
        return None
    seeds = seeds_of([vote])
    best = _best_validated([row for row in group if row.asks_model], seeds)
    without = _best_validated([row for row in group if not row.asks_model], seeds)
    return (best, without or vote) if best else None


def _best_validated(rows: Sequence[MeasuredRow], seeds: Sequence[int]) -> MeasuredRow | None:
    figures = [(validated(row, seeds), row) for row in rows if not row.reads_golds]
    known = [(figure, row) for figure, row in figures if figure is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None
