"""Figures of a baseline's training, by the names that PPO's have."""

from typing import Any

from transformers import Trainer

from ..intervals import interval
from ..training.best_checkpoint import ACCURACY, published_figure
from ..training.compute import training_flops
from .config import BaselineConfig
from .methods import METHODS


# What a point of the learning curve takes from TRL's log: the last figures before its evaluation.
SAMPLED = {"score": "reward", "entropy": "entropy", "mean_length": "completions/mean_length"}


def learning_curve(trainer: Trainer, stage: BaselineConfig) -> list[dict[str, float]]:
    """A point an evaluation: `step` and `episodes` trained on, validation `accuracy`, and what TRL logged of the
    sampled episodes before it: mean `score`, `kl` (nats an episode), `entropy` (nats a token) and `mean_length`
    (tokens), as far as the method has them.
    """
    points, sampled = [], {}
    for entry in trainer.state.log_history:
        if f"eval_{ACCURACY}" in entry:
            point = {"step": entry["step"], "episodes": episodes_at(entry["step"], trainer, stage)}
            points.append({**point, ACCURACY: entry[f"eval_{ACCURACY}"], **sampled})
        else:
            sampled |= {name: entry[logged] for name, logged in SAMPLED.items() if entry.get(logged) is not None}
            if entry.get("kl") is not None:
                sampled["kl"] = entry["kl"] * sampled["mean_length"]  # TRL's is a token's
    return points


def episodes_at(step: int, trainer: Trainer, stage: BaselineConfig) -> int:
    """Episodes that were trained on at a step; for more imitation, those that its tokens stand for."""
    if stage.method == "sft_equal_compute":
        return round(stage.total_episodes * step / trainer.args.max_steps)
    return round(step / stage.steps_per_rollout * stage.rollout_batch_size)


def training_figures(trainer: Trainer, stage: BaselineConfig, validated: int) -> dict[str, Any]:
    """Figures of a finished training with so many validation questions, for manifest and card."""
    state = trainer.state
    seen = state.num_input_tokens_seen
    imitates = stage.method == "sft_equal_compute"
    trained = seen * (stage.num_iterations if METHODS[stage.method].in_groups else 1)
    sampled = 0 if imitates else seen
    parameters = sum(weight.numel() for weight in trainer.model.parameters())
    figures: dict[str, Any] = {
        "episodes": episodes_at(state.global_step, trainer, stage),
        "updates": state.global_step if imitates else round(state.global_step / stage.steps_per_rollout),
        "optimizer_steps": state.global_step,
        "tokens_trained": trained,
        "tokens_sampled": sampled,
        "parameters": parameters,
        "flops": training_flops(parameters, trained, sampled),
        "curve": learning_curve(trainer, stage),
    }
    accuracies = [point[ACCURACY] for point in figures["curve"]]
    if accuracies:
        chosen = published_figure(trainer, ACCURACY)
        chosen = accuracies[-1] if chosen is None else chosen
        figures["validation_accuracy"] = {**interval(round(chosen * validated), validated), "value": chosen}
        before = accuracies[0]
        figures["validation_accuracy_before"] = {**interval(round(before * validated), validated), "value": before}
        if stage.load_best_model_at_end:
            figures["best_step"] = state.best_global_step
    return figures
