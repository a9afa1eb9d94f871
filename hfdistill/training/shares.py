"""Work split among the processes of a training, and put together again."""

from collections.abc import Sequence
from typing import TypeVar

import torch


T = TypeVar("T")


def my_share(items: Sequence[T], rank: int, processes: int) -> list[T]:
    """This process's items: every `processes`-th, which evens out lengths that grow or shrink along the list."""
    return list(items[rank::processes])


def gather_shares(mine: Sequence[T], processes: int) -> list[T]:
    """Put the results of [`my_share`] of all processes together in the order of the items, on every process."""
    if processes == 1:
        return list(mine)
    shares: list[list[T]] = [[] for _ in range(processes)]
    torch.distributed.all_gather_object(shares, list(mine))
    merged: list[T | None] = [None] * sum(len(share) for share in shares)
    for rank, share in enumerate(shares):
        merged[rank::processes] = share
    return merged
