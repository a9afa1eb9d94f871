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
    """The last hidden states, normalised, at a passage's positions: `(batch, wanted, hidden_size)`.

    Args:
        backbone (`PreTrainedModel`): any decoder without its head.
        passage ([`Passage`]): what is read.
    """
    if _written_out(backbone, passage):
        return passage.packed.in_rows(read_hidden_states(backbone, passage.packed))
    output = backbone(
        passage.input_ids,
        attention_mask=passage.attention_mask,
        position_ids=passage.position_ids,
        use_cache=False,
    )
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
    first, time, device = passage.first, passage.input_ids.shape[1], passage.input_ids.device
    output = model(
        input_ids=passage.input_ids,
        use_cache=False,
        output_hidden_states=with_hidden_states,
        logits_to_keep=torch.arange(first, time, device=device),
    )
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
    """The passes of a decode loop, with weights as they are now.

    Args:
        model (`PreTrainedModel`): a decoder.
        slots (`int`): the most rows at a time.
    """
    return LlamaForward(model, slots) if is_small_llama(model) else SlotForward(model, slots)
