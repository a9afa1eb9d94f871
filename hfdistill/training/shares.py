"""Work split among the processes of a training and into forward passes, and put together again."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from ..errors import HFDistillError


T = TypeVar("T")
SECONDS_BETWEEN_SIGNS = 20.0  # of life, while the main process works alone


def cut_into_passes(
    rows: Iterable[int], lengths: Sequence[int], max_tokens: int | None, max_rows: int | None = None
) -> list[list[int]]:
    """Rows, the longest first, in forward passes of at most so many rows, and tokens, padding included; a row that is
    longer gets a pass of its own.
    """
    passes: list[list[int]] = []
    for row in rows:
        full = not passes or len(passes[-1]) == max_rows
        # The first row of a pass is its longest: rows times that length is what it costs.
        if full or (max_tokens is not None and (len(passes[-1]) + 1) * lengths[passes[-1][0]] > max_tokens):
            passes.append([])
        passes[-1].append(row)
    return passes


def join_processes() -> PartialState:
    """All processes of a launch, on one machine or several. By itself accelerate finds those on CPUs only where it is
    told that they are.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    return PartialState(cpu=launched > 1 and not torch.accelerator.is_available())


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


def on_main_process(work: Callable[[], T]) -> T:
    """What the main process alone makes, on every process. The work may take hours, as a judge's does: the others hear
    of it every few seconds, since a single exchange that waits is given up after minutes.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: that of the work, on every process, so that none waits for another.
    """
    state = PartialState()
    if state.num_processes == 1:
        return work()
    made: Future[T] = Future()
    if state.is_main_process:
        threading.Thread(target=_fill, args=(made, work), daemon=True).start()
    while True:
        told: list[tuple[T | None, HFDistillError | None] | None] = [None]
        if state.is_main_process and wait([made], SECONDS_BETWEEN_SIGNS).done:
            try:
                told = [(made.result(), None)]
            except HFDistillError as error:
                told = [(None, error)]
        broadcast_object_list(told)
        if told[0] is not None:
            result, error = told[0]
            if error is not None:
                raise error
            return result


def _fill(made: "Future[T]", work: Callable[[], T]) -> None:
    try:
        made.set_result(work())
    except BaseException as error:
        made.set_exception(error)
