"""The door to a model's passes: its own forward, or, for Llama models on a CPU, the passes that are written out here.

They compute the same. Nobody outside asks which kind of model it is: training asks for [`hidden_states`], or reads
logits ([`read_logits`]), at the positions of a [`Passage`], and a decode loop asks for its [`decoding_passes`].
"""

from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from .decoding import LlamaForward
from .eligibility import is_plain_llama, is_small_llama
from .passage import Passage
from .slots import SlotForward
from .training import read_hidden_states


__all__ = ["Passage", "computes_no_padding", "decoding_passes", "hidden_states", "read_logits"]


def hidden_states(backbone: PreTrainedModel, passage: Passage) -> torch.Tensor:
    """The last hidden states, normalised, of a decoder without its head at a passage's positions: `(batch, wanted,
    hidden_size)`.
    """
    if _written_out(backbone, passage):
        return passage.packed.in_rows(read_hidden_states(backbone, passage.packed))
    layout = {"attention_mask": passage.attention_mask, "position_ids": passage.position_ids}
    output = backbone(passage.input_ids, **layout, use_cache=False)
    return passage.at_positions(output.last_hidden_state)


def read_logits(
    model: PreTrainedModel,
    passage: Passage,
    read: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor | None, ...]],
    with_hidden_states: bool = False,
) -> tuple[list[torch.Tensor | None], torch.Tensor | None]:
    """What is read off a causal language model's logits at a passage's positions.

    Args:
        model (`PreTrainedModel` or `PeftModel`): one whose forward knows `logits_to_keep`.
        passage ([`Passage`]): with its `next_ids`.
        read (`Callable`): takes logits `(…, vocabulary)` and the tokens that do follow `(…)`, of positions in any
            layout, and returns tensors `(…)` or `None`.
        with_hidden_states (`bool`, *optional*, defaults to `False`): also return what the logits are of.

    Returns:
        `tuple`: what `read` returned, each `(batch, wanted)` or `None`, and the hidden states `(batch, wanted,
        hidden_size)`, or `None`.
    """
    if _written_out(model, passage):
        packed = passage.packed
        hidden = read_hidden_states(model, packed)
        found = read(model.lm_head(hidden), packed.pack(passage.next_ids))
        rows = [None if values is None else packed.in_rows(values) for values in found]
        return rows, packed.in_rows(hidden) if with_hidden_states else None
    ids, first = passage.input_ids, passage.first
    kept = torch.arange(first, ids.shape[1], device=ids.device)
    output = model(input_ids=ids, use_cache=False, output_hidden_states=with_hidden_states, logits_to_keep=kept)
    found, index = read(output.logits, passage.next_ids[:, first:]), passage.positions - first
    rows = [None if values is None else values.gather(1, index) for values in found]
    return rows, passage.at_positions(output.hidden_states[-1]) if with_hidden_states else None


def _written_out(model: PreTrainedModel, passage: Passage) -> bool:
    simple = passage.attention_mask is None and passage.position_ids is None
    return simple and is_plain_llama(model, passage.input_ids.shape[1])


def computes_no_padding(backbone: PreTrainedModel, longest: int) -> bool:
    """Whether passes of up to `longest` positions cost their rows' own tokens alone, so that sequences are best given
    a row each.
    """
    return is_plain_llama(backbone, longest)


def decoding_passes(model: PreTrainedModel, slots: int) -> LlamaForward | SlotForward:
    """The passes of a decode loop over up to `slots` rows at a time, with a decoder's weights as they are now."""
    return LlamaForward(model, slots) if is_small_llama(model) else SlotForward(model, slots)
