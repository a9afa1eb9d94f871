"""Fewer looks for garbage while many requests are in flight: each has objects that live for seconds, and most of what
lives is walked in vain.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


THRESHOLD = 20_000  # new objects after which the youngest are looked at, instead of 700


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Look for garbage less often until the end of the context, and not at all among what is there at its start."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(THRESHOLD, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
