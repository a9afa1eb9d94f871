"""Figures of a training: gathered between two logs, and for manifest and card at its end."""

import time
from collections import defaultdict
from typing import Any

import torch
from accelerate import Accelerator

from ..intervals import interval
from ..training.best_checkpoint import ACCURACY, AGREEMENT, REWARD_SCORE


# What validation says of a policy, beside length and finish.
VALIDATED = (ACCURACY, REWARD_SCORE, AGREEMENT)


class RunningFigures:
    """Means and speed since the last log.

    Figures of a step are sums over this process's share of the mini-batch, already divided by the whole mini-batch:
    added up over processes they are its mean. They stay tensors until they are logged, so that no step waits.
    """

    def __init__(self):
        self._passes: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._steps: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._updates: dict[str, list[float]] = defaultdict(list)
        self._seconds: dict[str, float] = defaultdict(float)
        self._tokens = self._episodes = 0
        self._flushed_at = time.perf_counter()

    def add_pass(self, figures: dict[str, torch.Tensor]) -> None:
        """Figures of one forward pass of an optimizer step."""
        for name, value in figures.items():
            self._passes[name].append(value.detach())

    def end_step(self, seconds: float) -> None:
        """All passes of the optimizer step are in."""
        for name, values in self._passes.items():
            self._steps[name].append(torch.stack(values).sum())
        self._passes.clear()
        self._seconds["training"] += seconds

    def add_rollout(self, figures: dict[str, float], seconds: dict[str, float], tokens: int, episodes: int) -> None:
        """Figures of an update's rollout, the same on every process; its seconds by phase, its tokens and episodes."""
        for name, value in figures.items():
            self._updates[name].append(value)
        for phase, spent in seconds.items():
            self._seconds[phase] += spent
        self._tokens += tokens
        self._episodes += episodes

    def flush(self, accelerator: Accelerator) -> dict[str, float]:
        """Since the last call: means over steps and updates, seconds by phase, and where a rollout was among them the
        tokens and episodes a second. Every process must call it.
        """
        means = {name: sum(values) / len(values) for name, values in self._updates.items()}
        if self._steps:
            names = sorted(self._steps)
            local = torch.stack([torch.stack(self._steps[name]).mean() for name in names])
            means |= dict(zip(names, accelerator.reduce(local).tolist(), strict=True))
            if "val/ratio" in means:
                means["val/ratio_var"] = max(means.pop("val/ratio_squared") - means["val/ratio"] ** 2, 0.0)
        means |= {f"time/{phase}": seconds for phase, seconds in self._seconds.items()}
        if self._episodes:
            now = time.perf_counter()
            elapsed, self._flushed_at = now - self._flushed_at, now
            means |= {"eps": self._episodes / elapsed, "tokens_per_second": self._tokens / elapsed}
            self._tokens = self._episodes = 0
        for gathered in (self._steps, self._updates, self._seconds):
            gathered.clear()
        return means


# What a point of the learning curve takes from the log of training: the last figures before its evaluation.
SAMPLED = {
    "score": "objective/scores",
    "kl": "objective/kl",
    "entropy": "policy/entropy_avg",
    "mean_length": "completions/mean_length",
}


def learning_curve(state: Any, config: Any) -> list[dict[str, float]]:
    """A point an evaluation: `step` and `episodes` trained on, what validation says (`accuracy`, `reward_score`,
    `agreement`), and of the sampled episodes before it mean `score`, `kl` (nats an episode), `entropy` (nats a token)
    and `mean_length` (tokens), as far as they were logged.
    """
    points, sampled = [], {}
    for entry in state.log_history:
        sampled |= {name: entry[logged] for name, logged in SAMPLED.items() if logged in entry}
        said = {name: entry[f"eval_{name}"] for name in VALIDATED if f"eval_{name}" in entry}
        if said:
            episodes = round(entry["step"] / config.steps_per_update * config.rollout_batch_size)
            points.append({"step": entry["step"], "episodes": episodes, **said, **sampled})
    return points


def training_figures(state: Any, labelled: int, config: Any) -> dict[str, Any]:
    """Figures of a finished training with so many labelled validation questions, for manifest and card."""
    curve = learning_curve(state, config)
    last = [entry for entry in state.log_history if "objective/scores" in entry][-1:]
    figures: dict[str, Any] = {
        "episodes": round(state.global_step / config.steps_per_update * config.rollout_batch_size),
        "optimizer_steps": state.global_step,
    }
    if curve:
        published = curve[-1]
        if config.load_best_model_at_end:
            published = next(point for point in curve if point["step"] == state.best_global_step)
            figures["best_step"] = published["step"]
        for name in VALIDATED:
            for when, point in (("", published), ("_before", curve[0])):
                if name in point:
                    share = point[name]
                    figures[f"validation_{name}{when}"] = (
                        _with_interval(share, labelled) if name == ACCURACY else share
                    )
        figures["curve"] = curve
    for name in ("scores", "kl", "entropy", "no_answer_rate", "pseudo_label_rate"):
        figures |= {f"last_{name}": entry[f"objective/{name}"] for entry in last if f"objective/{name}" in entry}
    if last:
        figures["skipped_steps"] = last[-1]["policy/skipped_steps"]
    return figures


def _with_interval(share: float, n: int) -> dict[str, Any]:
    return {**interval(round(share * n), n), "value": share}
