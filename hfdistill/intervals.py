"""How far a share of so many trials can be trusted. Imports nothing heavy, unlike what measures accuracy."""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist


def wilson_interval(correct: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, which stays within 0 and 1 and holds for shares near either.

    Args:
        correct (`float`): number of successes; a tie may count one half.
        n (`float`): number of trials, more than none.
        level (`float`, *optional*, defaults to 0.95): how often such an interval holds the true share.

    Returns:
        `tuple[float, float]`: lower and upper end.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At a share of 0 or 1 rounding would put an end beside it, and plots refuse that.
    low, high = min(share, (centre - half) / scale), max(share, (centre + half) / scale)
    return max(0.0, low), min(1.0, high)


def clustered_interval(values: Sequence[float], clusters: Sequence[str], level: float = 0.95) -> dict[str, float]:
    """The mean of values between 0 and 1 that come in clusters, for example the pairs of a question, which are right
    or wrong together: Wilson's interval for as many independent trials as they are worth, by the variance between
    clusters (Korn and Graubard 1998).

    Args:
        values (`Sequence[float]`): at least one.
        clusters (`Sequence[str]`): which cluster each is of.
        level (`float`, *optional*, defaults to 0.95): how often such an interval holds the true mean.

    Returns:
        `dict`: `value`, `low`, `high`, and `n`, the number of values.
    """
    n, mean = len(values), math.fsum(values) / len(values)
    apart: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        apart[cluster] += value - mean
    variance = math.fsum(difference**2 for difference in apart.values()) / n**2
    if len(apart) > 1:
        variance *= len(apart) / (len(apart) - 1)
    worth = min(mean * (1 - mean) / variance, n) if variance > 0 else len(apart)
    low, high = wilson_interval(mean * worth, worth, level)
    return {"value": mean, "low": low, "high": high, "n": n}


def interval(correct: float, n: int) -> dict[str, float]:
    """A share with its 95 % interval, as the cards show it: `value`, `low`, `high`, `n`."""
    low, high = wilson_interval(correct, n)
    return {"value": correct / n, "low": low, "high": high, "n": n}
