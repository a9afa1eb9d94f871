"""How far a share of so many trials can be trusted. Imports nothing heavy, unlike what measures accuracy."""

import math
from statistics import NormalDist


def wilson_interval(correct: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, which stays within 0 and 1 and holds for shares near either.

    Args:
        correct (`float`): number of successes; a tie may count one half.
        n (`int`): number of trials, at least one.
        level (`float`, *optional*, defaults to 0.95): how often such an interval holds the true share.

    Returns:
        `tuple[float, float]`: lower and upper end.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def interval(correct: float, n: int) -> dict[str, float]:
    """A share with its 95 % interval, as the cards show it: `value`, `low`, `high`, `n`."""
    low, high = wilson_interval(correct, n)
    return {"value": correct / n, "low": low, "high": high, "n": n}
