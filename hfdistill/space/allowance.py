"""How often a visitor may ask."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from .visitors import ForVisitors


MOST_VISITORS = 10_000


@dataclass
class Allowance:
    """Questions that a visitor has left: `most` at once, and as many again over each minute.

    Args:
        most (`int`, *optional*, defaults to 20): questions.
        clock (`Callable[[], float]`, *optional*): seconds.
    """

    most: int = 20
    clock: Callable[[], float] = time.monotonic
    left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, visitor: str) -> None:
        """Use one up.

        Raises:
            [`~hfdistill.space.visitors.ForVisitors`]: if none is left.
        """
        now = self.clock()
        count, since = self.left.pop(visitor, (float(self.most), now))
        count = min(self.most, count + (now - since) * self.most / 60)
        allowed = count >= 1
        self.left[visitor] = count - allowed, now
        while len(self.left) > MOST_VISITORS:
            self.left.popitem(last=False)
        if not allowed:
            raise ForVisitors(f"You asked {self.most} questions within a minute. Wait a little, then ask again.")
