"""What a training cost, roughly, by the names that baselines have."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from ..training.compute import training_flops
from .actor_critic import ActorCritic


def model_sizes(model: ActorCritic) -> tuple[int, int]:
    """Parameters of the policy and of the value model, or of its head; before a training that shares them out."""
    policy = sum(weight.numel() for weight in model.policy.parameters())
    return policy, sum(weight.numel() for weight in model.value_parameters())


def compute_figures(
    sizes: tuple[int, int],
    log_history: Iterable[Mapping[str, Any]],
    prompt_ids: Sequence[Sequence[int]],
    episodes: int,
    epochs: int,
) -> dict[str, float]:
    """Tokens and operations of a finished training.

    Args:
        sizes (`tuple[int, int]`): from [`model_sizes`].
        log_history (`Iterable[Mapping]`): of the training, for the mean length of responses.
        prompt_ids (`Sequence[Sequence[int]]`): of the training questions, which are drawn alike.
        episodes (`int`): that were trained on.
        epochs (`int`): passes over each of them.

    Returns:
        `dict[str, float]`: `parameters` of the policy, `tokens_sampled` and `tokens_trained`, prompts included, as
        means make them, and `flops` of policy and value model, see
        [`~hfdistill.training.compute.training_flops`]. Empty where no length was logged.
    """
    lengths = [entry["completions/mean_length"] for entry in log_history if "completions/mean_length" in entry]
    if not lengths:
        return {}
    policy, value = sizes
    sampled = round(episodes * (mean(map(len, prompt_ids)) + mean(lengths)))
    trained = sampled * epochs
    return {
        "parameters": policy,
        "tokens_sampled": sampled,
        "tokens_trained": trained,
        "flops": training_flops(policy, trained, sampled) + training_flops(value, trained, 0),
    }
