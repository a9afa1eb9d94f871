"""What a run consists of: steps, each a process, and those at work."""

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One process of a run.

    Attributes:
        name (`str`): its name, which is its log's too.
        command (`Sequence[str]`): what is executed.
        after (`tuple[str, ...]`): steps that must have ended well before, as far as the same call has them.
        expected (`float`): seconds it is likely to take, for the time left of what has not begun.
        inputs (`str`): identity of what it reads besides its command, for example a digest of its configuration.
        launched (`bool`): whether the command is `accelerate launch`, which starts what does the work.
    """

    name: str
    command: Sequence[str]
    after: tuple[str, ...] = ()
    expected: float = 60.0
    inputs: str = ""
    launched: bool = False


def ended_well(step: Step, finished: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a step is among those that ended well (`steps.json`), with the same command and inputs."""
    earlier = finished.get(step.name, {})
    return earlier.get("command") == list(step.command) and earlier.get("inputs") == step.inputs


@dataclass
class Running:
    """A step at work: its process, when it began, seconds of earlier tries, and the last progress line it printed."""

    step: Step
    process: subprocess.Popen
    reader: threading.Thread
    started: float
    spent_before: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """What it took so far, earlier tries included."""
        return self.spent_before + time.monotonic() - self.started
