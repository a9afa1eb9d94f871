"""The training pass of Llama models on a CPU.

It computes what the model's own forward does, and the same gradients, without what nobody reads: padding has no place
in it but inside attention, and the last layer answers only at the positions that are asked for. The backward pass is
written out, so that a layer takes a third of the operations and keeps a third of the tensors.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.activations import SiLUActivation
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
)


# Rows attended to at once, times their longest: what a core's cache holds of their attention.
_PART_TOKENS = 1024
# Attention weights are kept, the square of a length; from here on the model's own attention is the faster one.
_LONGEST = 512
_STEADY_ROPE = ("default", "linear", "llama3")
_KINDS = ({("cpu", torch.float32)}, {("cpu", torch.float64)})
_PLAIN = {
    LlamaForCausalLM,
    LlamaModel,
    LlamaDecoderLayer,
    LlamaAttention,
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    SiLUActivation,
    nn.Linear,
    nn.Embedding,
    nn.ModuleList,
}


def is_plain_config(config: LlamaConfig) -> bool:
    """Whether a Llama of this config computes what is written out here and in `generation/llama.py`."""
    return (
        config.hidden_act == "silu"
        and not config.attention_bias
        and not config.mlp_bias
        and config.rope_parameters["rope_type"] in _STEADY_ROPE
    )


def is_plain_llama(model: nn.Module, longest: int) -> bool:
    """Whether [`read_hidden_states`] computes the same as the own forward of this backbone, or of a causal language
    model's, and sooner.

    Adapters, quantized or sharded weights, hooks, activation checkpointing and mixed precision all go their own way,
    and so do sequences whose `longest` has more than 512 tokens.
    """
    if type(model) not in (LlamaModel, LlamaForCausalLM) or not is_plain_config(model.config) or longest > _LONGEST:
        return False
    backbone = model.base_model
    if torch.is_autocast_enabled("cpu") or any(layer.gradient_checkpointing for layer in backbone.layers):
        return False
    kinds, modules = set(), [model]
    for module in modules:
        hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
        if hooked or type(module) not in _PLAIN:
            return False
        kinds.update((p.device.type, p.dtype) for p in module._parameters.values() if p is not None)
        modules += module._modules.values()
    return kinds in _KINDS


class Ragged:
    """Token sequences end to end, and from which position on the hidden states of each are wanted.

    Args:
        sequences (`Sequence[Sequence[int]]`): token ids; neighbours of similar length cost the least.
        first (`Sequence[int]`): first wanted position of each; all after it are wanted, too.

    Attributes:
        input_ids (`torch.Tensor`): of all sequences, `(tokens,)`.
        positions (`torch.Tensor`): the position of each token in its sequence.
        wanted (`torch.Tensor`): the tokens of the wanted positions, `(wanted,)`.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], first: Sequence[int]):
        self.input_ids = torch.tensor(list(chain.from_iterable(sequences)))
        lengths, first = torch.tensor([len(ids) for ids in sequences]), torch.tensor(first)
        wanted = _Block(lengths - first)
        steps = torch.arange(len(self.input_ids))
        self.positions = steps - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        self.wanted = (self.positions >= first.repeat_interleave(lengths)).nonzero()[:, 0]
        self.answers = wanted
        self.attention, self.last_attention = [], []
        token = answer = 0
        for part in _parts(lengths.tolist()):
            keys, queries = _Block(lengths[part], token), _Block((lengths - first)[part], answer)
            self.attention.append(_Part(keys, keys, torch.zeros(1, dtype=torch.long)))
            self.last_attention.append(_Part(queries, keys, first[part]))
            token, answer = keys.stop, queries.stop

    def pad(self, values: torch.Tensor) -> torch.Tensor:
        """Lay out values of the wanted positions in rows, `(sequences, time, …)`; behind a row's end, anything."""
        return values.index_select(0, self.answers.tokens).unflatten(0, (self.answers.rows, self.answers.time))


def _parts(lengths: list[int]) -> Iterator[slice]:
    """Cut rows into groups whose attention weights stay in the cache; each is padded to its own longest row."""
    start, longest = 0, lengths[0]
    for stop, length in enumerate(lengths):
        longest = max(longest, length)
        if (stop - start + 1) * longest > _PART_TOKENS and stop > start:
            yield slice(start, stop)
            start, longest = stop, length
    yield slice(start, len(lengths))


class _Block:
    """Where the tokens of some neighbouring rows, `start` to `stop`, lie in a padded block `(rows, time)`."""

    def __init__(self, lengths: torch.Tensor, start: int = 0):
        self.rows, self.time = len(lengths), int(lengths.max())
        steps = torch.arange(self.time)
        # Behind a row's end stands any token: what comes of it is not taken out again.
        tokens = (lengths.cumsum(0) - lengths)[:, None] + steps
        self.start, self.stop = start, start + int(lengths.sum())
        self.tokens = tokens.clamp_(max=self.stop - start - 1).flatten()
        self.places = (steps < lengths[:, None]).flatten().nonzero()[:, 0]

    def pad(self, values: torch.Tensor, heads: int) -> torch.Tensor:
        """`(all tokens, heads * size)` to `(rows * heads, time, size)`."""
        return self._by_heads(values[self.start : self.stop].index_select(0, self.tokens), heads)

    def pad_zeros(self, values: torch.Tensor, heads: int) -> torch.Tensor:
        """The same, with zeros behind the rows' ends."""
        padded = values.new_zeros(self.rows * self.time, values.shape[1])
        return self._by_heads(padded.index_copy_(0, self.places, values[self.start : self.stop]), heads)

    def _by_heads(self, padded: torch.Tensor, heads: int) -> torch.Tensor:
        return padded.view(self.rows, self.time, heads, -1).transpose(1, 2).flatten(0, 1)

    def unpad(self, padded: torch.Tensor, heads: int, out: torch.Tensor) -> None:
        """Back from `pad`, into the tokens' part of `out`."""
        by_tokens = padded.view(self.rows, heads, self.time, -1).transpose(1, 2).reshape(self.rows * self.time, -1)
        torch.index_select(by_tokens, 0, self.places, out=out[self.start : self.stop])


class _Part:
    """Attention of some rows: which queries, which keys, and what is forbidden, `(rows or 1, 1, queries, keys)`."""

    def __init__(self, queries: _Block, keys: _Block, first: torch.Tensor):
        self.queries, self.keys = queries, keys
        seen = first[:, None] + torch.arange(queries.time)
        forbidden = (torch.arange(keys.time) > seen[:, :, None])[:, None]
        self.mask = torch.zeros(forbidden.shape).masked_fill_(forbidden, -torch.inf)


def read_hidden_states(model: LlamaModel | LlamaForCausalLM, ragged: Ragged) -> torch.Tensor:
    """The last hidden states, normalised, of the wanted positions: `(wanted, hidden_size)`."""
    model = model.base_model
    hidden = model.embed_tokens(ragged.input_ids)
    cosine, sine = model.rotary_emb(hidden, torch.arange(int(ragged.positions.max()) + 1)[None])
    half = cosine.shape[-1] // 2
    rotation = torch.complex(cosine[0, :, :half], sine[0, :, :half])[ragged.positions, None]
    for layer in model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        modules = layer.input_layernorm, attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
        modules += layer.post_attention_layernorm, mlp.gate_proj, mlp.up_proj, mlp.down_proj
        last = layer is model.layers[-1]
        options = ragged, last, rotation, attention.scaling, model.norm.variance_epsilon
        hidden = _LayerPass.apply(hidden, *options, *(module.weight for module in modules))
    return model.norm(hidden)


class _LayerPass(Function):
    """One decoder layer; the last one computes queries, and all that follows from them, at wanted positions alone."""

    @staticmethod
    def forward(
        ctx,
        hidden,
        ragged,
        last,
        rotation,
        scaling,
        epsilon,
        norm,
        query,
        key,
        value,
        output,
        mlp_norm,
        gate,
        up,
        down,
    ):
        normal, inverse = _normalise(hidden, epsilon)
        inputs = normal * norm
        asked_inputs, asked_rotation = inputs, rotation
        if last:
            hidden, asked_inputs = hidden.index_select(0, ragged.wanted), inputs.index_select(0, ragged.wanted)
            asked_rotation = rotation.index_select(0, ragged.wanted)
        # Of each head, the two halves that rotary embedding turns against each other lie side by side, as complex
        # numbers: in queries and keys alike, so that their products stay the same.
        queries = _turn(asked_inputs @ _side_by_side(query, rotation).mul_(scaling).t(), asked_rotation)
        keys, values = _turn(inputs @ _side_by_side(key, rotation).t(), rotation), inputs @ value.t()
        parts = ragged.last_attention if last else ragged.attention
        mixed, weights = _attend(queries, keys, values, parts, 2 * rotation.shape[-1])
        middle = torch.addmm(hidden, mixed, output.t())
        mlp_normal, mlp_inverse = _normalise(middle, epsilon)
        mlp_inputs = mlp_normal * mlp_norm
        gated, raised = mlp_inputs @ gate.t(), mlp_inputs @ up.t()
        bent = F.silu(gated)
        product = bent * raised
        ctx.ragged, ctx.last, ctx.rotation, ctx.scaling = ragged, last, rotation, scaling
        ctx.save_for_backward(
            *(normal, inverse, queries, keys, values, mixed, mlp_normal, mlp_inverse, gated, raised, bent, product),
            *(norm, query, key, value, output, mlp_norm, gate, up, down),
            *weights,
        )
        return middle.addmm_(product, down.t())

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        ragged, last, rotation = ctx.ragged, ctx.last, ctx.rotation
        normal, inverse, queries, keys, values, mixed, mlp_normal, mlp_inverse, *rest = ctx.saved_tensors
        gated, raised, bent, product, norm, query, key, value, output, mlp_norm, gate, up, down, *weights = rest

        grad_down = grad.t() @ product
        grad_product = grad @ down
        grad_raised = grad_product * bent
        grad_gated = torch.ops.aten.silu_backward(grad_product.mul_(raised), gated)
        mlp_inputs = mlp_normal * mlp_norm
        grad_gate, grad_up = grad_gated.t() @ mlp_inputs, grad_raised.t() @ mlp_inputs
        grad_inputs = torch.addmm(grad_gated @ gate, grad_raised, up)
        grad_mlp_norm, grad_middle = _normalise_backward(grad_inputs, mlp_normal, mlp_inverse, mlp_norm)
        grad_middle += grad
        grad_output = grad_middle.t() @ mixed

        parts = ragged.last_attention if last else ragged.attention
        grad_queries, grad_keys, grad_values = _attend_backward(
            grad_middle @ output, mixed, queries, keys, values, weights, parts, 2 * rotation.shape[-1]
        )
        inputs = normal * norm
        asked_inputs, asked_rotation = inputs, rotation
        if last:
            asked_inputs, asked_rotation = (x.index_select(0, ragged.wanted) for x in (inputs, rotation))
        _turn(grad_queries, asked_rotation.conj())
        _turn(grad_keys, rotation.conj())
        grad_query = _apart((grad_queries.t() @ asked_inputs).mul_(ctx.scaling), rotation)
        grad_key, grad_value = _apart(grad_keys.t() @ inputs, rotation), grad_values.t() @ inputs
        grad_inputs = torch.addmm(grad_values @ value, grad_keys, _side_by_side(key, rotation))
        weight = _side_by_side(query, rotation).mul_(ctx.scaling)
        if last:
            grad_inputs.index_add_(0, ragged.wanted, grad_queries @ weight)
        else:
            grad_inputs.addmm_(grad_queries, weight)
        grad_norm, grad_hidden = _normalise_backward(grad_inputs, normal, inverse, norm)
        if last:
            grad_hidden.index_add_(0, ragged.wanted, grad_middle)
        else:
            grad_hidden += grad_middle
        grads = grad_norm, grad_query, grad_key, grad_value, grad_output, grad_mlp_norm, grad_gate, grad_up, grad_down
        return grad_hidden, None, None, None, None, None, *grads


def _normalise(hidden: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of mean square 1, and what they were multiplied by."""
    norm = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
    inverse = norm.square_().div_(hidden.shape[-1]).add_(epsilon).rsqrt_()
    return hidden * inverse, inverse


def _normalise_backward(
    grad: torch.Tensor, normal: torch.Tensor, inverse: torch.Tensor, norm: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of the norm's weight and input; `grad`, that of its output, is used up."""
    product = grad * normal
    along = (product @ norm)[:, None]
    return product.sum(0), grad.mul_(norm).addcmul_(normal, along, value=-1 / grad.shape[-1]).mul_(inverse)


def _side_by_side(weight: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    return weight.view(-1, 2, rotation.shape[-1], weight.shape[-1]).transpose(1, 2).flatten(0, 2)


def _apart(weight: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    return weight.view(-1, rotation.shape[-1], 2, weight.shape[-1]).transpose(1, 2).flatten(0, 2)


def _turn(joined: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotary embedding, in place."""
    torch.view_as_complex(joined.view(len(joined), -1, rotation.shape[-1], 2)).mul_(rotation)
    return joined


def _attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, parts: list[_Part], head_dim: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What each query's heads read, `(queries, heads * head_dim)`, and by which weights, a tensor a part."""
    heads, shared = queries.shape[1] // head_dim, keys.shape[1] // head_dim
    mixed, weights = torch.empty_like(queries), []
    for part in parts:
        rows, time = part.queries.rows, part.queries.time
        query = part.queries.pad(queries, heads).reshape(rows * shared, -1, head_dim)
        key, value = part.keys.pad(keys, shared), part.keys.pad(values, shared)
        scores = torch.bmm(query, key.transpose(1, 2))
        scores.view(rows, heads, time, -1).add_(part.mask)
        weights.append(scores.softmax(-1))
        part.queries.unpad(torch.bmm(weights[-1], value), heads, mixed)
    return mixed, weights


def _attend_backward(
    grad: torch.Tensor,
    mixed: torch.Tensor,
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    weights: list[torch.Tensor],
    parts: list[_Part],
    head_dim: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    heads, shared = queries.shape[1] // head_dim, keys.shape[1] // head_dim
    grad_queries, grad_keys, grad_values = map(torch.empty_like, (queries, keys, values))
    # The mean of the weights' gradients under the weights themselves.
    mean = (grad * mixed).view(len(grad), heads, head_dim).sum(-1)
    for part, weight in zip(parts, weights, strict=True):
        batch = part.queries.rows * shared
        query, grad_mixed = (
            padded.reshape(batch, -1, head_dim)
            for padded in (part.queries.pad(queries, heads), part.queries.pad_zeros(grad, heads))
        )
        key, value = part.keys.pad(keys, shared), part.keys.pad(values, shared)
        grad_scores = torch.bmm(grad_mixed, value.transpose(1, 2))
        grad_scores.sub_(part.queries.pad_zeros(mean, heads).reshape(batch, -1, 1)).mul_(weight)
        part.keys.unpad(torch.bmm(weight.transpose(1, 2), grad_mixed), shared, grad_values)
        part.keys.unpad(torch.bmm(grad_scores.transpose(1, 2), query), shared, grad_keys)
        part.queries.unpad(torch.bmm(grad_scores, key), heads, grad_queries)
    return grad_queries, grad_keys, grad_values
