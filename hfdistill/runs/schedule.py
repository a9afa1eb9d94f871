"""How long steps take together, so many at once: for plans, and for the time left."""

import heapq
from collections.abc import Mapping, Sequence

from .steps import Step


def together(steps: Sequence[Step], seconds: Mapping[str, float], parallel: int) -> float:
    """Seconds until the last step ends, if they are begun as [`~hfdistill.runs.runner.Runner`] begins them.

    Args:
        steps (`Sequence[Step]`): in the order in which they are begun.
        seconds (`Mapping[str, float]`): what each still takes; a step that is not in it is done.
        parallel (`int`): steps at once.
    """
    waiting = [step for step in steps if step.name in seconds]
    open_names = {step.name for step in waiting}
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        for step in list(waiting):
            if len(running) >= parallel:
                break
            if open_names.isdisjoint(step.after):
                heapq.heappush(running, (now + seconds[step.name], step.name))
                waiting.remove(step)
        now, name = heapq.heappop(running)
        open_names.discard(name)
    return now
