"""Figures gathered between two logs."""

from collections import defaultdict

import torch
from accelerate import Accelerator


class Metrics:
    """Means since the last log.

    Figures of a step are sums over this process's share of the mini-batch, already divided by the whole mini-batch:
    added up over processes they are its mean. They stay tensors until they are logged, so that no step waits.
    """

    def __init__(self):
        self._passes: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._steps: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._updates: dict[str, list[float]] = defaultdict(list)

    def add_pass(self, figures: dict[str, torch.Tensor]) -> None:
        """Figures of one forward pass of an optimizer step."""
        for name, value in figures.items():
            self._passes[name].append(value)

    def end_step(self) -> None:
        """All passes of the optimizer step are in."""
        for name, values in self._passes.items():
            self._steps[name].append(torch.stack(values).sum())
        self._passes.clear()

    def add_update(self, figures: dict[str, float]) -> None:
        """Figures of an update, the same on every process."""
        for name, value in figures.items():
            self._updates[name].append(value)

    def flush(self, accelerator: Accelerator) -> dict[str, float]:
        """Means over steps and updates since the last call; every process must call it."""
        means = {name: sum(values) / len(values) for name, values in self._updates.items()}
        if self._steps:
            names = sorted(self._steps)
            local = torch.stack([torch.stack(self._steps[name]).mean() for name in names])
            means |= dict(zip(names, accelerator.reduce(local).tolist(), strict=True))
            if "val/ratio" in means:
                means["val/ratio_var"] = max(means.pop("val/ratio_squared") - means["val/ratio"] ** 2, 0.0)
        self._steps.clear()
        self._updates.clear()
        return means
