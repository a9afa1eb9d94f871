"""Policy and value as one module, so that one wrapper (DDP, DeepSpeed) and one optimizer hold both."""

import inspect
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ..errors import HFDistillError
from ..llama import Passage, hidden_states, read_logits
from ..reward.model import Float32Head
from ..training.adapters import inner_model
from .losses import token_log_probs


class Scored(NamedTuple):
    """What policy and value say about responses, `(batch, time)` over response tokens; beyond a response, anything."""

    log_probs: torch.Tensor | None
    values: torch.Tensor | None
    entropy: torch.Tensor | None


class ActorCritic(nn.Module):
    """A policy, with adapters or without, and its value function.

    `value_model` is a sequence classification model with one output, with adapters or without, whose head is read at
    every token. Without it the value is a head on the policy's hidden states. `temperature` is that of sampling.
    """

    # The loss is made by the trainer, from what `forward` returns.
    accepts_loss_kwargs = False
    # Layers do so in `forward` alone: who wants to generate has nothing to switch off.
    is_gradient_checkpointing = False

    def __init__(self, policy: PreTrainedModel, value_model: PreTrainedModel | None, temperature: float = 1.0):
        super().__init__()
        self.config = policy.config
        self.policy = policy
        self.temperature = temperature
        if "logits_to_keep" not in inspect.signature(inner_model(policy).forward).parameters:
            raise HFDistillError(f"{type(policy).__name__} computes no part of its logits alone (logits_to_keep)")
        if value_model is None:
            self.value_model = None
            self.value_head = Float32Head(policy.config.get_text_config().hidden_size, 1, bias=False)
            nn.init.zeros_(self.value_head.weight)
            self.value_head.to(policy.device)
        else:
            self.value_model = value_model
            self.value_head = None
        # What FSDP shards by.
        models = [inner_model(policy), *([] if value_model is None else [inner_model(value_model)])]
        self._no_split_modules = sorted({name for model in models for name in model._no_split_modules or ()})
        # Always: dropout would make the ratio of the first step differ from 1.
        self.eval()

    def train(self, mode: bool = True) -> "ActorCritic":
        """Stay in evaluation mode: PPO trains without dropout."""
        return super().train(False)

    def value_parameters(self) -> list[nn.Parameter]:
        """Parameters of the value model, or of the value head."""
        return list((self.value_head if self.value_model is None else self.value_model).parameters())

    def activation_checkpointing_enable(self, **kwargs) -> None:
        """Compute activations of the layers anew in the backward pass, as `PreTrainedModel` does."""
        self.policy.activation_checkpointing_enable(**kwargs)
        if self.value_model is not None:
            self.value_model.activation_checkpointing_enable(**kwargs)

    @property
    def device(self) -> torch.device:
        """Where the policy is."""
        return self.policy.device

    def generate(self, *args, **kwargs) -> Any:
        """The policy's own `generate`, for callbacks that ask the trainer's model."""
        return self.policy.generate(*args, **kwargs)

    def create_or_update_model_card(self, folder: str) -> None:
        """Let the card of a policy with an adapter say so: the Trainer asks for it when it pushes."""
        self.policy.create_or_update_model_card(folder)

    def forward(
        self,
        passage: Passage,
        with_policy: bool = True,
        with_value: bool = True,
        with_entropy: bool = False,
        only_value_head: bool = False,
    ) -> Scored:
        """Log-probabilities and values of the passage's response tokens, and their entropy, without gradient.

        `only_value_head` keeps the value's gradient out of a shared backbone.
        """
        log_probs = values = entropy = hidden = None
        shared = with_value and self.value_model is None
        with checkpointed(self) if torch.is_grad_enabled() else nullcontext():
            if with_policy or shared:
                log_probs, entropy, hidden = read_policy(self.policy, passage, self.temperature, with_entropy, shared)
            if with_value:
                if self.value_model is not None:
                    hidden = hidden_states(inner_model(self.value_model).base_model, passage)
                head = self.value_head if self.value_model is None else inner_model(self.value_model).score
                values = head(hidden.detach() if only_value_head and shared else hidden).squeeze(-1)
        return Scored(log_probs, values, entropy)


def read_policy(
    policy: PreTrainedModel,
    passage: Passage,
    temperature: float,
    with_entropy: bool = False,
    with_hidden_states: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """One forward pass of a policy, or of a reference: log-probabilities of the response tokens, entropy or `None`,
    both `(batch, time)`, and the hidden states that predict them, `(batch, time, hidden)`, or `None`.
    """

    def read(logits: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        return token_log_probs(logits, tokens, temperature, with_entropy)

    (log_probs, entropy), hidden = read_logits(inner_model(policy), passage, read, with_hidden_states)
    return log_probs, entropy, hidden


@contextmanager
def checkpointed(model: nn.Module):
    """Let layers checkpoint their activations where that is enabled.

    They do so only in training mode, and they alone are put into it: dropout inside them stays off. Outside, they
    must not be, since checkpointing layers refuse the cache that generation needs.
    """
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer) and m.gradient_checkpointing]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
