"""GRPO and RLOO: groups of responses to a prompt, and the run's own rewards."""

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, Trainer

from ..encoding import Encoder
from ..warmup.validation import Validation
from .arguments import trl_arguments
from .config import BaselineConfig
from .trainers import GRPOBaseline, RLOOBaseline


def group_trainer(
    model: PreTrainedModel,
    stage: BaselineConfig,
    asked: dict[str, Any],
    rewards: Sequence[Callable[..., Any]],
    weights: Sequence[float],
    prompts: Dataset,
    validation: Validation,
    encoder: Encoder,
) -> Trainer:
    """TRL's trainer of groups, GRPO's or RLOO's.

    Args:
        model (`PreTrainedModel` or `peft.PeftModel`): the warm-up, perhaps with an adapter that is trained.
        stage ([`~hfdistill.baselines.config.BaselineConfig`]), asked (`dict`): the section, and as it was asked for.
        rewards (`Sequence[Callable]`), weights (`Sequence[float]`): functions in TRL's protocol, and how each counts.
        prompts (`Dataset`): see [`~hfdistill.baselines.prompts.prompt_dataset`].
        validation ([`~hfdistill.warmup.validation.Validation`]): chooses the checkpoint.
        encoder ([`~hfdistill.encoding.Encoder`]): of the warm-up.
    """
    kind = RLOOBaseline if stage.method == "rloo" else GRPOBaseline
    template = {"chat_template_kwargs": dict(encoder.chat.template_kwargs)} if encoder.chat else {}
    return kind(
        model,
        list(rewards),
        args=trl_arguments(stage, asked, reward_weights=list(weights), **template),
        train_dataset=prompts,
        eval_dataset=prompts,  # validation asks its own questions
        processing_class=encoder.tokenizer,
        validation=validation,
        early_stopping_patience=stage.early_stopping_patience,
    )
