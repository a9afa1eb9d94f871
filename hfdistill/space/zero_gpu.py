"""ZeroGPU, hardware of the Hub that lends a Space its GPU for one call at a time: each runs in a process of its own,
which the package `spaces` forks from the page's and which ends with the loan.
"""

import os
from collections.abc import Callable
from typing import Any

from httpx import HTTPError

from ..errors import HFDistillError
from ..kinds import REWARD
from .framework import gr
from .models import Models
from .run import ShownRun
from .visitors import ForVisitors, log


ON = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")  # as `spaces` reads it
SECONDS = 60  # of a loan; what takes longer is ended

if ON:
    import spaces  # the Hub installs it; it takes the place of CUDA until a call has its GPU


class ModelsOnZeroGPU(Models):
    """Every model of a run, loaded before the page is up: a forked process knows no other."""

    def __init__(self):
        super().__init__()
        self._lent = spaces.GPU(super().compute, duration=SECONDS)

    def load(self, run: ShownRun) -> None:
        """Load every model of a run in the main thread, the only one where `spaces` stands for CUDA; one that cannot
        be loaded is told in the log.
        """
        loads = dict.fromkeys(run.students.values(), self.student) | {run.settings.ref(REWARD.name): self.scorer}
        for ref, load in loads.items():
            try:
                load(ref)
            except HFDistillError as error:
                log("A model is not there.", error)

    def compute(self, ref: str, work: Callable, *given: Any, **here: Any) -> Any:
        """As in this process; what only this process could use, as a callback, is left out.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if there is no GPU for it; ZeroGPU's own reason is for visitors.
        """
        try:
            return self._lent(ref, work, *given)
        except gr.Error as error:
            raise ForVisitors(f"The GPU did not answer this. ZeroGPU says: {error.message}") from error
        except (RuntimeError, HTTPError) as error:
            raise HFDistillError(f"ZeroGPU lent no GPU: {error}") from error
