"""Policy and value as one module, so that one wrapper (DDP, DeepSpeed) and one optimizer hold both."""

import inspect
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import NamedTuple

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ..encoding import right_pad
from ..errors import HFDistillError
from ..llama.training import Ragged, is_plain_llama, read_hidden_states
from ..reward.model import Float32Head
from .losses import token_log_probs


class Scored(NamedTuple):
    """What policy and value say about responses, `(batch, time)` over response tokens; beyond a response, anything."""

    log_probs: torch.Tensor | None
    values: torch.Tensor | None
    entropy: torch.Tensor | None


class Passage:
    """Prompts with responses, laid out for a forward pass.

    Args:
        sequences (`Sequence[Sequence[int]]`): prompt and response ids.
        prompt_lengths (`Sequence[int]`): where each response starts.
        pad_token_id (`int`): what fills up rows.
        device (`torch.device`): where the passage is read.

    Attributes:
        first (`int`), last (`int`): the span of positions that predict a response token in any row.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        prompt_lengths: Sequence[int],
        pad_token_id: int,
        device: torch.device,
    ):
        self.sequences, self.prompt_lengths = sequences, prompt_lengths
        self.pad_token_id, self.device = pad_token_id, device
        self.first, self.last = min(prompt_lengths) - 1, max(map(len, sequences)) - 1

    @cached_property
    def input_ids(self) -> torch.Tensor:
        """Ids, `(batch, time)`, padded on the right: no causal position looks there, so attention needs no mask."""
        return right_pad(self.sequences, self.pad_token_id)[0].to(self.device)

    @cached_property
    def positions(self) -> torch.Tensor:
        """Within the span, the position before each response token, `(batch, responses)`."""
        starts = torch.tensor(self.prompt_lengths)[:, None] - 1 - self.first
        longest = max(len(ids) - length for ids, length in zip(self.sequences, self.prompt_lengths, strict=True))
        return (starts + torch.arange(longest)).clamp(max=self.last - self.first - 1).to(self.device)

    @cached_property
    def ragged(self) -> Ragged:
        """The same without padding; the states that predict response tokens are wanted."""
        return Ragged([ids[:-1] for ids in self.sequences], [length - 1 for length in self.prompt_lengths])

    @cached_property
    def responses(self) -> torch.Tensor:
        """Ids of all response tokens, end to end."""
        pairs = zip(self.sequences, self.prompt_lengths, strict=True)
        return torch.tensor([token for ids, length in pairs for token in ids[length:]])


class ActorCritic(nn.Module):
    """A policy and its value function.

    Args:
        policy (`PreTrainedModel` or `PeftModel`): a causal language model.
        value_model (`PreTrainedModel`, *optional*): a sequence classification model with one output, whose head is
            read at every token. Without it the value is a head on the policy's hidden states.
        temperature (`float`, *optional*, defaults to 1.0): of sampling.
    """

    # The loss is made by the trainer, from what `forward` returns.
    accepts_loss_kwargs = False

    def __init__(self, policy: PreTrainedModel, value_model: PreTrainedModel | None, temperature: float = 1.0):
        super().__init__()
        self.config = policy.config
        self.policy = policy
        self.temperature = temperature
        if "logits_to_keep" not in inspect.signature(causal_model(policy).forward).parameters:
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
        models = [causal_model(policy), *([] if value_model is None else [value_model])]
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

    def forward(
        self,
        passage: Passage,
        with_policy: bool = True,
        with_value: bool = True,
        with_entropy: bool = False,
        only_value_head: bool = False,
    ) -> Scored:
        """Log-probabilities and values of the passage's response tokens.

        Args:
            passage ([`Passage`]): prompts and responses.
            with_policy (`bool`, *optional*, defaults to `True`), with_value (`bool`, *optional*, defaults to `True`):
                what to compute.
            with_entropy (`bool`, *optional*, defaults to `False`): also the policy's entropy, without gradient.
            only_value_head (`bool`, *optional*, defaults to `False`): keep the value's gradient out of a shared
                backbone.
        """
        log_probs = values = entropy = hidden = None
        shared = with_value and self.value_model is None
        with checkpointed(self) if torch.is_grad_enabled() else nullcontext():
            if with_policy or shared:
                log_probs, entropy, hidden = read_policy(self.policy, passage, self.temperature, with_entropy, shared)
            if with_value:
                if self.value_model is not None:
                    hidden = read_backbone(self.value_model.base_model, passage)
                head = self.value_head if self.value_model is None else self.value_model.score
                values = head(hidden.detach() if only_value_head and shared else hidden).squeeze(-1)
        return Scored(log_probs, values, entropy)


def read_policy(
    policy: PreTrainedModel,
    passage: Passage,
    temperature: float,
    with_entropy: bool = False,
    with_hidden_states: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """One forward pass of a policy, or of a reference.

    Returns:
        `tuple`: log-probabilities of the response tokens, entropy or `None`, both `(batch, time)`, and the hidden
        states that predict them, `(batch, time, hidden)`, or `None`.
    """
    if is_plain_llama(policy, passage.last):
        hidden = read_hidden_states(policy.model, passage.ragged)
        log_probs, entropy = token_log_probs(policy.lm_head(hidden), passage.responses, temperature, with_entropy)
        return (
            passage.ragged.pad(log_probs),
            passage.ragged.pad(entropy) if with_entropy else None,
            passage.ragged.pad(hidden) if with_hidden_states else None,
        )
    output = policy(
        input_ids=passage.input_ids[:, : passage.last],
        use_cache=False,
        output_hidden_states=with_hidden_states,
        logits_to_keep=torch.arange(passage.first, passage.last, device=passage.input_ids.device),
    )
    targets = passage.input_ids[:, passage.first + 1 : passage.last + 1]
    log_probs, entropy = token_log_probs(output.logits, targets, temperature, with_entropy)
    return (
        log_probs.gather(1, passage.positions),
        entropy.gather(1, passage.positions) if with_entropy else None,
        _before_responses(output.hidden_states[-1], passage) if with_hidden_states else None,
    )


def read_backbone(backbone: PreTrainedModel, passage: Passage) -> torch.Tensor:
    """The last hidden states that predict response tokens, `(batch, time, hidden)`."""
    if is_plain_llama(backbone, passage.last):
        return passage.ragged.pad(read_hidden_states(backbone, passage.ragged))
    hidden = backbone(passage.input_ids[:, : passage.last], use_cache=False).last_hidden_state
    return _before_responses(hidden, passage)


def _before_responses(hidden: torch.Tensor, passage: Passage) -> torch.Tensor:
    index = passage.positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
    return hidden[:, passage.first : passage.last].gather(1, index)


def causal_model(policy: PreTrainedModel) -> PreTrainedModel:
    """The causal language model itself, out of its adapters if it has any."""
    return policy if isinstance(policy, PreTrainedModel) else policy.get_base_model()


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


def build_value_model(
    policy: PreTrainedModel, value_model: PreTrainedModel | None, head_init: str, pad_token_id: int
) -> PreTrainedModel:
    """A value model with a head in fp32: the given one, or the policy's backbone with a head of zeros.

    Args:
        policy (`PreTrainedModel`): what the backbone is copied from if no value model is given.
        value_model (`PreTrainedModel`, *optional*): a sequence classification model with one output.
        head_init (`str`): `"copy"` or `"zero"`.
        pad_token_id (`int`): written to its config.
    """
    if value_model is None:
        causal = causal_model(policy)
        config = type(causal.config).from_dict(causal.config.to_dict())
        config.num_labels, config.pad_token_id = 1, pad_token_id
        value_model = AutoModelForSequenceClassification.from_config(config, dtype=causal.dtype)
        state = {
            name.replace("base_layer.", ""): tensor
            for name, tensor in causal.base_model.state_dict().items()
            if "lora_" not in name
        }
        value_model.base_model.load_state_dict(state)
        value_model.to(causal.device)
        head_init = "zero"
    check_scalar_model(value_model, policy, "value model")
    if not isinstance(value_model.score, Float32Head):
        head = Float32Head(value_model.score.in_features, 1, bias=False, device=value_model.score.weight.device)
        head.weight.data.copy_(value_model.score.weight.data)
        value_model.score = head
    if head_init == "zero":
        nn.init.zeros_(value_model.score.weight)
    return value_model


def check_scalar_model(model: PreTrainedModel, policy: PreTrainedModel, role: str) -> None:
    """Refuse a value or reward model that cannot read what the policy writes."""
    if model.config.num_labels != 1:
        raise HFDistillError(f"the {role} {model.name_or_path!r} has {model.config.num_labels} outputs instead of 1")
    check_vocabulary(model, policy, role)


def check_vocabulary(model: PreTrainedModel, policy: PreTrainedModel, role: str) -> None:
    """Refuse a model that knows other tokens than the policy."""
    theirs, ours = model.config.get_text_config().vocab_size, policy.config.get_text_config().vocab_size
    if theirs != ours:
        raise HFDistillError(
            f"the {role} {model.name_or_path!r} knows {theirs} tokens and the policy {ours}: both must use the same "
            "tokenizer"
        )
