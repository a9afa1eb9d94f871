"""Whether one model is better than another on the same questions: paired, so that hard questions cancel out."""

from collections.abc import Sequence

import numpy as np


RESAMPLES = 10_000


def paired_difference(ours: Sequence[bool], theirs: Sequence[bool]) -> dict[str, float]:
    """Difference in accuracy of two models with its 95 % interval, a percentile bootstrap over questions.

    Args:
        ours (`Sequence[bool]`), theirs (`Sequence[bool]`): whether each answered each question right, in one order.

    Returns:
        `dict[str, float]`: `value` (ours minus theirs), `low`, `high`, and `n`.
    """
    difference = np.asarray(ours, dtype=np.int64) - np.asarray(theirs, dtype=np.int64)
    n = len(difference)
    # Only three values occur, so a resample is a draw of how often each of them comes up.
    counts = [int((difference == value).sum()) for value in (-1, 0, 1)]
    draws = np.random.default_rng(0).multinomial(n, np.asarray(counts) / n, size=RESAMPLES)
    means = (draws[:, 2] - draws[:, 0]) / n
    low, high = np.quantile(means, [0.025, 0.975])
    return {"value": float(difference.mean()), "low": float(low), "high": float(high), "n": n}
