"""Whether one model is better than another on the same questions: paired, so that hard questions cancel out."""

import math
from collections.abc import Sequence

import numpy as np


RESAMPLES = 10_000


def paired_difference(ours: Sequence[bool], theirs: Sequence[bool]) -> dict[str, float]:
    """Difference in accuracy of two models with its 95 % interval, a percentile bootstrap over questions.

    Args:
        ours (`Sequence[bool]`), theirs (`Sequence[bool]`): whether each answered each question right, in one order.

    Returns:
        `dict[str, float]`: `value` (ours minus theirs), `low`, `high`, `n`, and `p`, see [`mcnemar`].
    """
    counts = _outcomes(ours, theirs)
    n = int(counts.sum())
    # Only three values occur, so a resample is a draw of how often each of them comes up.
    draws = np.random.default_rng(0).multinomial(n, counts / n, size=RESAMPLES)
    low, high = np.quantile((draws[:, 2] - draws[:, 0]) / n, [0.025, 0.975])
    value = float((counts[2] - counts[0]) / n)
    return {"value": value, "low": float(low), "high": float(high), "n": n, "p": mcnemar(ours, theirs)}


def paired_over_seeds(ours: Sequence[Sequence[bool]], theirs: Sequence[Sequence[bool]]) -> dict[str, float]:
    """Difference in accuracy of two methods, each run with several seeds, with its 95 % interval.

    A percentile bootstrap in two steps, as for clusters: seeds are drawn with replacement, and within each drawn seed
    its questions are, anew at each draw. The seeds count alike, whatever their number of questions. With one seed it
    is the interval of [`paired_difference`], and says nothing of other seeds.

    Args:
        ours (`Sequence[Sequence[bool]]`), theirs (`Sequence[Sequence[bool]]`): for each seed, whether each question
            was answered right: seeds and questions in one order.

    Returns:
        `dict[str, float]`: `value` (mean over seeds of ours minus theirs), `low`, `high`, `seeds`, and `n`, the number
        of pairs over all seeds.
    """
    counts = [_outcomes(*pair) for pair in zip(ours, theirs, strict=True)]
    seeds = len(counts)
    generator = np.random.default_rng(0)
    # How often each seed comes up in a resample; a seed's questions are drawn as often as that.
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)
    sums = np.zeros(RESAMPLES)
    for count, times in zip(counts, drawn.T, strict=True):
        n = count.sum()
        draws = generator.multinomial(n * times, count / n)
        sums += (draws[:, 2] - draws[:, 0]) / n
    low, high = np.quantile(sums / seeds, [0.025, 0.975])
    value = float(np.mean([(count[2] - count[0]) / count.sum() for count in counts]))
    n = int(sum(count.sum() for count in counts))
    return {"value": value, "low": float(low), "high": float(high), "seeds": seeds, "n": n}


def mcnemar(ours: Sequence[bool], theirs: Sequence[bool]) -> float:
    """McNemar's exact test of two models that are equally good: the probability that the questions which only one of
    them answered right are split at least as unevenly as they are (two-sided, binomial; 1 where there are none).
    """
    lost, _, gained = (int(count) for count in _outcomes(ours, theirs))
    split = lost + gained
    tail = sum(math.comb(split, k) for k in range(min(lost, gained) + 1))
    return min(1.0, 2 * tail / 2**split)


def _outcomes(ours: Sequence[bool], theirs: Sequence[bool]) -> np.ndarray:
    """How many questions were lost, alike and gained: `(3,)`."""
    difference = np.array([int(our) - int(their) for our, their in zip(ours, theirs, strict=True)])
    return np.array([(difference == value).sum() for value in (-1, 0, 1)])
