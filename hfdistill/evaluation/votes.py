"""Several samples a question: what one, their majority, the best by the reward model and a weighted vote come to."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..intervals import interval
from ..labels.plurality import plurality, score_weight
from .paired import RESAMPLES, paired_difference


def vote_figures(
    samples: Iterable[Mapping[str, Any]], counts: Sequence[int], same: Callable[[str, str], bool]
) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracies of a model that answers several times.

    Args:
        samples (`Iterable[Mapping]`): of one model and task, with `question_id`, `sample`, `answer`, `correct` and
            `score`, the last `None` where no reward model was asked.
        counts (`Sequence[int]`): numbers of samples; those of a smaller number are the first of a larger one.
        same (`Callable[[str, str], bool]`): whether two canonical answers are one.

    Returns:
        `dict`: by number of samples, figures with their 95 % intervals: `one` (the mean of the samples, by a bootstrap
        over questions), `majority` (of the answers, ties broken by the first sampled), `best` (the answer with the
        highest score), `weighted` (a vote in which each answer weighs by the sigmoid of its score) and `any` (whether
        one of them is right); and `weighted_minus_majority` and `best_minus_majority`, paired over questions. Without
        scores those that need them are left out.
    """
    by_question: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in samples:
        by_question[row["question_id"]].append(row)
    asked = [sorted(rows, key=lambda row: row["sample"]) for rows in by_question.values()]
    made = {}
    for count in counts:
        outcomes = [outcome(rows[:count], same) for rows in asked]
        ways = list(outcomes[0])
        figures = {"one": _mean_with_interval([made["one"] for made in outcomes], count)}
        figures |= {way: interval(sum(made[way] for made in outcomes), len(outcomes)) for way in ways if way != "one"}
        for way in ("weighted", "best"):
            if way in ways:
                right = ([made[name] for made in outcomes] for name in (way, "majority"))
                figures[f"{way}_minus_majority"] = paired_difference(*right)
        made[str(count)] = figures
    return made


def outcome(samples: Sequence[Mapping[str, Any]], same: Callable[[str, str], bool]) -> dict[str, Any]:
    """How the samples of one question come out: `one` is how many are right, the others whether they are."""
    answers = [row["answer"] for row in samples]

    def right(chosen: str | None) -> bool:
        return any(row["correct"] for row in samples if row["answer"] == chosen)

    made = {"one": sum(row["correct"] for row in samples), "majority": right(plurality(answers, same))}
    answered = [row for row in samples if row["answer"] is not None]
    if all(row["score"] is not None for row in samples):
        best = max(answered, key=lambda row: row["score"], default={"answer": None})
        weights = [score_weight(row["score"]) for row in samples]
        made |= {"best": right(best["answer"]), "weighted": right(plurality(answers, same, weights))}
    return {**made, "any": made["one"] > 0}


def _mean_with_interval(right: Sequence[int], count: int) -> dict[str, float]:
    """Mean share of right samples; its interval is a percentile bootstrap over questions."""
    n = len(right)
    # Only so many values occur, so a resample is a draw of how often each of them comes up.
    occurs = np.bincount(right, minlength=count + 1)
    draws = np.random.default_rng(0).multinomial(n, occurs / n, size=RESAMPLES)
    low, high = np.quantile(draws @ np.arange(count + 1) / (n * count), [0.025, 0.975])
    return {"value": sum(right) / (n * count), "low": float(low), "high": float(high), "n": n}
