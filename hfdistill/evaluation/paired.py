"""Whether one model is better than another on the same questions: paired, so that hard questions cancel out."""

import math
from collections.abc import Sequence

import numpy as np


RESAMPLES = 10_000


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Difference in accuracy of two models with its 95 % interval, a percentile bootstrap over questions.

    Args:
        ours (`Sequence[float]`), theirs (`Sequence[float]`): whether each answered each question right, or which share
            of its samples did, in one order.

    Returns:
        `dict[str, float]`: `value` (ours minus theirs), `low`, `high`, `n`, and `p`, see [`mcnemar`].
    """
    values, counts = _differences(ours, theirs)
    n = int(counts.sum())
    # Only few values occur, so a resample is a draw of how often each of them comes up.
    draws = np.random.default_rng(0).multinomial(n, counts / n, size=RESAMPLES)
    low, high = np.quantile(draws @ values / n, [0.025, 0.975])
    value = float(counts @ values / n)
    return {"value": value, "low": float(low), "high": float(high), "n": n, "p": mcnemar(ours, theirs)}


def paired_over_seeds(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> dict[str, float]:
    """Difference in accuracy of two methods, each run with several seeds, with its 95 % interval.

    A percentile bootstrap in two steps, as for clusters: seeds are drawn with replacement, and within each drawn seed
    its questions are, anew at each draw. The seeds count alike, whatever their number of questions. With one seed it
    is the interval of [`paired_difference`], and says nothing of other seeds.

    Args:
        ours (`Sequence[Sequence[float]]`), theirs (`Sequence[Sequence[float]]`): for each seed, whether each question
            was answered right, or by which share of the samples: seeds and questions in one order.

    Returns:
        `dict[str, float]`: `value` (mean over seeds of ours minus theirs), `low`, `high`, `seeds`, and `n`, the number
        of pairs over all seeds.
    """
    found = [_differences(*pair) for pair in zip(ours, theirs, strict=True)]
    seeds = len(found)
    generator = np.random.default_rng(0)
    # How often each seed comes up in a resample; a seed's questions are drawn as often as that.
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)
    sums = np.zeros(RESAMPLES)
    for (values, counts), times in zip(found, drawn.T, strict=True):
        n = counts.sum()
        sums += generator.multinomial(n * times, counts / n) @ values / n
    low, high = np.quantile(sums / seeds, [0.025, 0.975])
    value = float(np.mean([counts @ values / counts.sum() for values, counts in found]))
    n = int(sum(counts.sum() for _, counts in found))
    return {"value": value, "low": float(low), "high": float(high), "seeds": seeds, "n": n}


def mcnemar(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """McNemar's exact test of two models that are equally good: the probability that the questions which only one of
    them answered right are split at least as unevenly as they are (two-sided, binomial; 1 where there are none). Of
    shares of samples it is the sign test: which of the two has the larger share.
    """
    values, counts = _differences(ours, theirs)
    lost, gained = int(counts[values < 0].sum()), int(counts[values > 0].sum())
    split = lost + gained
    tail = sum(math.comb(split, k) for k in range(min(lost, gained) + 1))
    return min(1.0, 2 * tail / 2**split)


def _differences(ours: Sequence[float], theirs: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The values that ours minus theirs takes, and on how many questions each: `(values,)` both, in order of value."""
    pairs = zip(ours, theirs, strict=True)
    return np.unique([float(our) - float(their) for our, their in pairs], return_counts=True)
