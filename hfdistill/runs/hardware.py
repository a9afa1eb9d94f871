"""Hardware by name, and over how many of its GPUs a run's stages spread, by which launch configuration."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..config import Config
from ..errors import HFDistillError, unknown
from .memory import Spread


# Gigabytes of memory, and 1e12 operations a second in bf16 without sparsity, by the makers' data sheets.
GPUS = {
    "a10g": (24, 70),
    "l4": (24, 121),
    "l40s": (48, 362),
    "a100-40gb": (40, 312),
    "a100": (80, 312),
    "h100": (80, 989),
    "h200": (141, 989),
    "b200": (180, 2250),
}


@dataclass(frozen=True)
class Machines:
    """One machine or more, with GPUs of one kind.

    Args:
        gpu (`str`): which, a key of `GPUS`.
        gpus (`int`): how many a machine has.
        machines (`int`): how many machines.
    """

    gpu: str
    gpus: int = 1
    machines: int = 1

    @classmethod
    def read(cls, text: str) -> "Machines":
        """Machines as they are written: `h100`, `a100x8`, or `2xa100x8` for two machines of eight.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if that is none, or the GPU is not known.
        """
        found = re.fullmatch(r"(?:([1-9]\d*)x)?([a-z][\w-]*?)(?:x([1-9]\d*))?", text.lower())
        if not found:
            raise HFDistillError(
                f"--hardware is {text!r}: it reads a100x8, or 2xa100x8 for two machines of eight GPUs"
            )
        machines, gpu, gpus = found.groups()
        if gpu not in GPUS:
            raise unknown("GPU", gpu, GPUS)
        return cls(gpu, int(gpus or 1), int(machines or 1))

    @property
    def memory(self) -> float:
        """Gigabytes of one GPU."""
        return GPUS[self.gpu][0]

    @property
    def all_gpus(self) -> int:
        """GPUs of all machines."""
        return self.gpus * self.machines

    @property
    def operations(self) -> float:
        """Of one GPU, a second, at its peak."""
        return GPUS[self.gpu][1] * 1e12

    def spreads(self, configs: Mapping[str, Config]) -> list[Spread]:
        """What may be launched on it: data parallel, and with the weights split.

        As many processes as share the updates of these stages equally, perhaps fewer than there are GPUs, on as few
        machines as have so many.
        """
        updates = math.gcd(*map(_update, configs.values()))
        processes, machines = max(
            (n * each, -n)
            for n in range(1, self.machines + 1)
            for each in range(1, self.gpus + 1)
            if updates % (n * each) == 0
        )
        if processes == 1:
            return [Spread()]
        return [Spread(kind, processes, -machines) for kind in ("ddp", "fsdp")]


def _update(config: Config) -> int:
    """Examples of an update that all processes share; 0 where each has as many, or the stage makes none."""
    asked = vars(config.stage)
    return asked.get("rollout_batch_size") or asked.get("global_batch_size") or 0


def launch_file(spread: Spread) -> str:
    """The launch configuration for several processes that is nearest to a spread."""
    return f"recipes/accelerate/{spread.kind}{'_nodes' if spread.machines > 1 else ''}.yaml"


def describe_launch(spread: Spread) -> str:
    """How a spread is launched, in words."""
    if spread.processes == 1:
        return "one process, without a launch configuration"
    machines = f"num_machines: {spread.machines} and " if spread.machines > 1 else ""
    return f"{launch_file(spread)} with {machines}num_processes: {spread.processes}"
