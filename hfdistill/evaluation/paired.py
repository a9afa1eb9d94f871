"""Whether one model is better than another on the same questions: paired, so that hard questions cancel out."""

from collections.abc import Sequence

import numpy as np


def paired_difference(
    ours: Sequence[bool], theirs: Sequence[bool], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """Difference in accuracy of two models, with a percentile bootstrap over questions.

    Args:
        ours (`Sequence[bool]`), theirs (`Sequence[bool]`): whether each answered each question right, in one order.
        level (`float`, *optional*, defaults to 0.95): level of the interval.
        resamples (`int`, *optional*, defaults to 10000): bootstrap samples.
        seed (`int`, *optional*, defaults to 0): of the bootstrap.

    Returns:
        `dict[str, float]`: `value` (ours minus theirs), `low`, `high`, and `n`.
    """
    difference = np.asarray(ours, dtype=np.int64) - np.asarray(theirs, dtype=np.int64)
    n = len(difference)
    # Only three values occur, so a resample is a draw of how often each of them comes up.
    counts = [int((difference == value).sum()) for value in (-1, 0, 1)]
    draws = np.random.default_rng(seed).multinomial(n, np.asarray(counts) / n, size=resamples)
    means = (draws[:, 2] - draws[:, 0]) / n
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return {"value": float(difference.mean()), "low": float(low), "high": float(high), "n": n}
