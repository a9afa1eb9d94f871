"""Several samples a question: what a majority, the best by score or a weighted vote of them come to, over seeds."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

from ..labels.plurality import plurality
from .evidence import MeasuredRow
from .statistics import Difference, accuracy, difference


WAYS = ("majority", "best", "weighted", "any")
Outcomes = dict[int, dict[str, list[bool]]]  # by seed and way, for each question in order


def vote_outcomes(row: MeasuredRow) -> dict[int, Outcomes]:
    """By number of samples, whether each question comes out right by each of `WAYS`, of the first so many samples."""
    found: dict[int, Outcomes] = {}
    for seed, samples in row.samples.items():
        questions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for sample in sorted(samples, key=lambda sample: sample["sample"]):
            questions[sample["question_id"]].append(sample)
        for count in row.votes:
            made = [_outcomes(asked[:count], row.same) for asked in questions.values()]
            found.setdefault(count, {})[seed] = {
                way: [outcome[way] for outcome in made] for way in WAYS if all(way in outcome for outcome in made)
            }
    return found


def one_sample(row: MeasuredRow) -> float:
    """Share of the samples that are right, mean over seeds: what one of them comes to."""
    return mean(mean(sample["correct"] for sample in samples) for samples in row.samples.values() if samples)


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


def _outcomes(samples: Sequence[dict[str, Any]], same: Callable[[str, str], bool]) -> dict[str, bool]:
    """Whether each way gets a question right; those that ask the reward model only where every answer has a score."""
    answered = [sample for sample in samples if sample["answer"] is not None]
    answers, scores = [sample["answer"] for sample in answered], [sample["score"] for sample in answered]
    right = {sample["answer"]: sample["correct"] for sample in answered}
    made = {"majority": right.get(plurality(answers, same), False), "any": any(right.values())}
    if None not in scores:
        weights = [1 / (1 + math.exp(-score)) for score in scores]
        made["weighted"] = right.get(plurality(answers, same, weights), False)
        made["best"] = bool(answers) and right[answers[scores.index(max(scores))]]
    return made
