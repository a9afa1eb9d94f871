"""TRL's configuration of a method, made of the section `baseline`."""

import math
from dataclasses import fields
from typing import Any

from transformers import TrainingArguments

from ..warmup.config import WarmupConfig
from .config import BaselineConfig
from .methods import METHODS


def trl_arguments(stage: BaselineConfig, asked: dict[str, Any], **more: Any) -> Any:
    """The configuration of TRL's trainer for a method that samples.

    Args:
        stage ([`~hfdistill.baselines.config.BaselineConfig`]): the section.
        asked (`dict`): its fields as they were asked for, see [`~hfdistill.config.Config`].
        more: fields that are worked out elsewhere.
    """
    per_step = stage.rollout_batch_size // stage.num_mini_batches // stage.world_size
    rows = largest_part(per_step, stage.per_device_train_batch_size)
    groups, unit = METHODS[stage.method].in_groups, stage.steps_per_rollout
    made = {
        **_training_arguments(stage, asked, math.ceil(stage.total_episodes / stage.rollout_batch_size), unit),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": per_step // rows,
        "temperature": stage.temperature,
        "max_completion_length": stage.max_completion_length,
    }
    if groups:
        made |= {
            "steps_per_generation": stage.num_mini_batches * per_step // rows,
            "num_iterations": stage.num_iterations,
            "num_generations": stage.num_generations,
            "num_generations_eval": 1,  # validation is our own, and greedy
        }
        if stage.beta is not None:
            made["beta"] = stage.beta
    return METHODS[stage.method].trl_class()(**{**made, **more, **stage.trl})


def sft_arguments(stage: BaselineConfig, asked: dict[str, Any], steps: int) -> WarmupConfig:
    """The warm-up's configuration, for so many optimizer steps more."""
    made = {
        **_training_arguments(stage, asked, steps, 1),
        "global_batch_size": stage.rollout_batch_size // stage.num_mini_batches,
        "per_device_train_batch_size": stage.per_device_train_batch_size,
        "early_stopping_patience": stage.early_stopping_patience or 0,
        "max_length": None,
        # Counts the tokens trained on, also over an interruption.
        "include_num_input_tokens_seen": "non_padding",
    }
    return WarmupConfig(**{**made, **stage.trl})


def _training_arguments(stage: BaselineConfig, asked: dict[str, Any], updates: int, unit: int) -> dict[str, Any]:
    """The fields of `transformers.TrainingArguments` for so many updates of `unit` optimizer steps. Evaluations and
    checkpoints come between them, since nothing within one could be gone on from.
    """
    made = {each.name: asked[each.name] for each in fields(TrainingArguments) if each.name in asked}
    settled = "output_dir bf16 use_cpu load_best_model_at_end eval_on_start"
    made |= {name: vars(stage)[name] for name in settled.split()}
    made["max_steps"] = updates * unit

    def whole_updates(steps: float) -> int:
        return max(1, round((made["max_steps"] * steps if steps < 1 else steps) / unit))

    for name in ("eval_steps", "save_steps"):
        steps = asked[name] if name == "save_steps" or asked[name] else asked["logging_steps"]
        made[name] = whole_updates(steps) * unit
    # What was logged up to a checkpoint is in it, and nothing of a window that a kill cuts in two is lost.
    made["logging_steps"] = largest_part(made["save_steps"] // unit, whole_updates(asked["logging_steps"])) * unit
    return made


def largest_part(total: int, most: int) -> int:
    """The largest number up to `most` that divides `total`."""
    return next(rows for rows in range(min(total, most), 0, -1) if total % rows == 0)
