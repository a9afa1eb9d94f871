"""Garbage is looked for less often while a run asks, and as before when it ends."""

import gc
import weakref

import pytest

from hfdistill.teacher.garbage import THRESHOLD, rarely_collected


class Knot:
    def __init__(self):
        self.itself = self


def test_garbage_is_collected_less_often_for_a_while():
    usual, knot = gc.get_threshold(), Knot()
    left = weakref.ref(knot)
    with pytest.raises(KeyboardInterrupt), rarely_collected():
        assert gc.get_threshold()[0] == THRESHOLD > usual[0]
        del knot
        gc.collect()
        assert left() is not None  # what was there is not walked
        raise KeyboardInterrupt
    assert gc.get_threshold() == usual and gc.get_freeze_count() == 0
    gc.collect()
    assert left() is None
