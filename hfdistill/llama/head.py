"""A causal language model's head, some positions at a time: its logits are the largest tensors that there are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast


# Most logits that are computed at a time: 256 MB in float32. Fewer only cost time.
LOGITS_AT_ONCE = 2**26
# Most that are kept for the backward pass: 1 GB. More are computed anew there.
LOGITS_KEPT = 2**28

# Takes logits `(positions, vocabulary)` and the tokens that do follow `(positions,)`; returns tensors `(positions,)`.
Reader = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor | None, ...]]


def read_head(
    model: PreTrainedModel, hidden: torch.Tensor, next_ids: torch.Tensor, read: Reader
) -> list[torch.Tensor | None]:
    """What is read off a model's logits of hidden states, each `(positions,)` or `None`.

    Args:
        model (`PreTrainedModel`): a causal language model.
        hidden (`torch.Tensor`): its last hidden states, normalised, `(positions, hidden_size)`.
        next_ids (`torch.Tensor`): the tokens that do follow, `(positions,)`.
        read (`Callable`): see [`Reader`].
    """

    def read_part(part: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return read(_logits(model, part), ids)

    # The same parts with a gradient and without, so that both give the same figures to the last bit.
    vocabulary = model.config.get_text_config().vocab_size
    size = max(LOGITS_AT_ONCE // vocabulary, 1)
    if len(hidden) <= size:
        return list(read_part(hidden, next_ids))
    parts = zip(hidden.split(size), next_ids.split(size), strict=True)
    if torch.is_grad_enabled() and len(hidden) * vocabulary > LOGITS_KEPT:
        found = [checkpoint(read_part, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    else:
        found = [read_part(*part) for part in parts]
    return [None if values[0] is None else torch.cat(values) for values in zip(*found, strict=True)]


def _logits(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """By the model's own forward: some families scale or cap what the head gives."""
    output = _HiddenStates(last_hidden_state=hidden[None])
    with _answering(model.base_model, output):
        # Nobody reads these ids.
        return model(input_ids=hidden.new_zeros(1, len(hidden), dtype=torch.long), use_cache=False).logits[0]


class _HiddenStates(BaseModelOutputWithPast):
    """A backbone's output without anything else that those of some families have."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextmanager
def _answering(backbone: PreTrainedModel, output: _HiddenStates) -> Iterator[None]:
    """Let a backbone give this output, whatever it is asked."""
    replaced = vars(backbone).get("forward")
    backbone.forward = lambda *args, **kwargs: output
    try:
        yield
    finally:
        del backbone.forward
        if replaced is not None:
            backbone.forward = replaced
