"""A reward for short responses."""

from collections.abc import Sequence
from typing import Any


BRIEF_UNIT = 100


def brief(completion_ids: Sequence[list[int]], **columns: Any) -> list[float]:
    """Minus the length in hundreds of tokens, end token included: -2 for a completion of 200 tokens."""
    return [-len(ids) / BRIEF_UNIT for ids in completion_ids]
