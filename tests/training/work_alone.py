"""One of two processes works for longer than an exchange between them may wait."""

import sys
import time
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import InitProcessGroupKwargs

from hfdistill.training import shares


def work() -> int:
    time.sleep(8)
    return PartialState().process_index


if __name__ == "__main__":
    group = InitProcessGroupKwargs(backend="gloo", timeout=timedelta(seconds=5))
    state = PartialState(cpu=True, **group.to_kwargs())
    shares.SECONDS_BETWEEN_SIGNS = 0.5
    state.wait_for_everyone()
    Path(sys.argv[1], f"{state.process_index}").write_text(str(shares.on_main_process(work)))
