"""The door to a model's passes: its own forward, or, for Llama models on a CPU, the passes that are written out here.

They compute the same. Nobody outside asks which kind of model it is: training asks for [`hidden_states`], or reads
logits ([`read_logits`]), at the positions of a [`Passage`], and a decode loop asks for its [`decoding_passes`].
"""

import torch
from transformers import PreTrainedModel

from .decoding import LlamaForward
from .eligibility import is_plain_llama, is_small_llama
from .head import LOGITS_AT_ONCE, LOGITS_KEPT, Reader, read_head
from .passage import Passage
from .slots import SlotForward, check_layers, masked_attention
from .training import read_hidden_states


__all__ = [
    "LOGITS_AT_ONCE",
    "LOGITS_KEPT",
    "Passage",
    "check_layers",
    "computes_no_padding",
    "decoding_passes",
    "hidden_states",
    "masked_attention",
    "read_logits",
]


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
    model: PreTrainedModel, passage: Passage, read: Reader, with_hidden_states: bool = False
) -> tuple[list[torch.Tensor | None], torch.Tensor | None]:
    """What is read off a causal language model's logits at a passage's positions. They never stand whole where there
    are many.

    Args:
        model (`PreTrainedModel`): the model, with adapters in its layers or without.
        passage ([`Passage`]): with its `next_ids`.
        read (`Callable`): takes logits `(n, vocabulary)` and the tokens that do follow `(n,)`, of some of the
            positions, and returns tensors `(n,)` or `None`.
        with_hidden_states (`bool`, *optional*, defaults to `False`): also return what the logits are of.

    Returns:
        `tuple`: what `read` returned, each `(batch, wanted)` or `None`, and the hidden states `(batch, wanted,
        hidden_size)`, or `None`.
    """
    backbone = model.base_model
    if _written_out(backbone, passage):
        layout = passage.packed
        hidden, next_ids = read_hidden_states(backbone, layout), layout.pack(passage.next_ids)
    else:
        layout = passage
        hidden = passage.once(hidden_states(backbone, passage))
        next_ids = passage.once(passage.next_ids.gather(1, passage.positions))
    found = read_head(model, hidden, next_ids, read)
    rows = [None if values is None else layout.in_rows(values) for values in found]
    return rows, layout.in_rows(hidden) if with_hidden_states else None


def _written_out(backbone: PreTrainedModel, passage: Passage) -> bool:
    simple = passage.attention_mask is None and passage.position_ids is None
    return simple and is_plain_llama(backbone, passage.input_ids.shape[1])


def computes_no_padding(backbone: PreTrainedModel, longest: int) -> bool:
    """Whether passes of up to `longest` positions cost their rows' own tokens alone, so that sequences are best given
    a row each.
    """
    return is_plain_llama(backbone, longest)


def decoding_passes(model: PreTrainedModel, slots: int) -> LlamaForward | SlotForward:
    """The passes of a decode loop over up to `slots` rows at a time, with a decoder's weights as they are now."""
    return LlamaForward(model, slots) if is_small_llama(model) else SlotForward(model, slots)
