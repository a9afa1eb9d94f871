"""How a report writes figures."""

from collections.abc import Mapping, Sequence
from statistics import mean


NONE = "–"
MINUS = "−"


def share(value: float | None) -> str:
    """A share, or another figure of its size, with three digits."""
    return NONE if value is None else f"{value:.3f}".replace("-", MINUS)


def interval(made: Mapping[str, float]) -> str:
    """`low` and `high` of a share."""
    return f"[{share(made['low'])}, {share(made['high'])}]"


def points(value: float) -> str:
    """A difference of shares in percentage points; what is little below zero is seen to be below."""
    return f"{100 * value:+.1f}".replace("-", MINUS) if value else "0.0"


def range_of(values: Sequence[float]) -> str:
    """Mean of a share over seeds, and the lowest and the highest."""
    return f"{share(mean(values))} [{share(min(values))}, {share(max(values))}]" if values else NONE


def mean_share(values: Sequence[float]) -> str:
    """Mean of a share over seeds."""
    return share(mean(values)) if values else NONE


def count(values: Sequence[float]) -> str:
    """Mean of a number that is a count."""
    return f"{mean(values):,.0f}" if values else NONE


def magnitude(values: Sequence[float]) -> str:
    """Mean of a number of which two digits tell enough."""
    return f"{mean(values):.1e}" if values else NONE


def probability(p: float) -> str:
    """A p-value."""
    return f"{p:.2g}" if p >= 0.0001 else "< 0.0001"
