"""The training pass of Llama models on a CPU.

It computes what the model's own forward does, and the same gradients, without what nobody reads: padding has no place
in it but inside attention, and the last layer answers only at the positions that are asked for. The backward pass is
written out, so that a layer takes a third of the operations and keeps a third of the tensors.

Under autocast the products with weights are made in its dtype, of copies of the weights that a layer makes once a
pass; norms, positions and attention stay in the weights' own, and so do the weights and their gradients.
"""

import torch
import torch.nn.functional as F
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from transformers import LlamaForCausalLM, LlamaModel

from .eligibility import product_dtype, projections
from .passage import AttentionPart, Packed


def read_hidden_states(model: LlamaModel | LlamaForCausalLM, packed: Packed) -> torch.Tensor:
    """The last hidden states, normalised, of the answered positions: `(answered, hidden_size)`."""
    model = model.base_model
    hidden = model.embed_tokens(packed.input_ids)
    cosine, sine = model.rotary_emb(hidden, torch.arange(int(packed.positions.max()) + 1)[None])
    half = cosine.shape[-1] // 2
    rotation = torch.complex(cosine[0, :, :half], sine[0, :, :half])[packed.positions, None]
    for layer in model.layers:
        *attention, gate, up, down = projections(layer)
        modules = layer.input_layernorm, *attention, layer.post_attention_layernorm, gate, up, down
        last = layer is model.layers[-1]
        options = packed, last, rotation, layer.self_attn.scaling, model.norm.variance_epsilon, product_dtype(hidden)
        hidden = _LayerPass.apply(hidden, *options, *(module.weight for module in modules))
    return model.norm(hidden)


class _LayerPass(Function):
    """One decoder layer; the last one computes queries, and what follows from them, at answered positions alone."""

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def forward(ctx, hidden, packed, last, rotation, scaling, epsilon, dtype, *weights):
        norm, query, key, value, output, mlp_norm, gate, up, down = weights
        # Of each head, the two halves that rotary embedding turns against each other lie side by side, as complex
        # numbers: in queries and keys alike, so that their products stay the same.
        query, key = _side_by_side(query, rotation).mul_(scaling), _side_by_side(key, rotation)
        query, key, value, output, gate, up, down = (
            weight.to(dtype) for weight in (query, key, value, output, gate, up, down)
        )
        normal, inverse = _normalise(hidden, epsilon)
        inputs = (normal * norm).to(dtype)
        asked_inputs, asked_rotation = inputs, rotation
        if last:
            hidden, asked_inputs = hidden.index_select(0, packed.answered), inputs.index_select(0, packed.answered)
            asked_rotation = rotation.index_select(0, packed.answered)
        queries = _turn((asked_inputs @ query.t()).to(hidden.dtype), asked_rotation)
        keys = _turn((inputs @ key.t()).to(hidden.dtype), rotation)
        values = (inputs @ value.t()).to(hidden.dtype)
        parts = packed.last_attention if last else packed.attention
        mixed, shares = _attend(queries, keys, values, parts, 2 * rotation.shape[-1])
        middle = _plus_product(hidden, mixed.to(dtype), output.t())
        mlp_normal, mlp_inverse = _normalise(middle, epsilon)
        mlp_inputs = (mlp_normal * mlp_norm).to(dtype)
        gated, raised = mlp_inputs @ gate.t(), mlp_inputs @ up.t()
        bent = F.silu(gated)
        product = bent * raised
        ctx.packed, ctx.last, ctx.rotation, ctx.scaling = packed, last, rotation, scaling
        ctx.save_for_backward(
            *(normal, inverse, queries, keys, values, mixed, mlp_normal, mlp_inverse, gated, raised, bent, product),
            *(norm, query, key, value, output, mlp_norm, gate, up, down),
            *shares,
        )
        return _plus_product(middle, product, down.t())

    @staticmethod
    @once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, grad):
        packed, last, rotation = ctx.packed, ctx.last, ctx.rotation
        normal, inverse, queries, keys, values, mixed, mlp_normal, mlp_inverse, *rest = ctx.saved_tensors
        gated, raised, bent, product, norm, query, key, value, output, mlp_norm, gate, up, down, *shares = rest
        own, dtype = grad.dtype, product.dtype

        low_grad = grad.to(dtype)
        grad_down = low_grad.t() @ product
        grad_product = low_grad @ down
        grad_raised = grad_product * bent
        grad_gated = torch.ops.aten.silu_backward(grad_product.mul_(raised), gated)
        mlp_inputs = (mlp_normal * mlp_norm).to(dtype)
        grad_gate, grad_up = grad_gated.t() @ mlp_inputs, grad_raised.t() @ mlp_inputs
        grad_inputs = torch.addmm(grad_gated @ gate, grad_raised, up).to(own)
        grad_mlp_norm, grad_middle = _normalise_backward(grad_inputs, mlp_normal, mlp_inverse, mlp_norm)
        grad_middle += grad
        low_grad = grad_middle.to(dtype)
        grad_output = low_grad.t() @ mixed.to(dtype)

        parts = packed.last_attention if last else packed.attention
        grad_queries, grad_keys, grad_values = _attend_backward(
            (low_grad @ output).to(own), mixed, queries, keys, values, shares, parts, 2 * rotation.shape[-1]
        )
        inputs = (normal * norm).to(dtype)
        asked_inputs, asked_rotation = inputs, rotation
        if last:
            asked_inputs, asked_rotation = (x.index_select(0, packed.answered) for x in (inputs, rotation))
        grad_queries = _turn(grad_queries, asked_rotation.conj()).to(dtype)
        grad_keys, grad_values = _turn(grad_keys, rotation.conj()).to(dtype), grad_values.to(dtype)
        grad_query = _apart((grad_queries.t() @ asked_inputs).mul_(ctx.scaling), rotation)
        grad_key, grad_value = _apart(grad_keys.t() @ inputs, rotation), grad_values.t() @ inputs
        grad_inputs = torch.addmm(grad_values @ value, grad_keys, key).to(own)
        if last:
            grad_inputs.index_add_(0, packed.answered, (grad_queries @ query).to(own))
        else:
            grad_inputs = _plus_product(grad_inputs, grad_queries, query)
        grad_norm, grad_hidden = _normalise_backward(grad_inputs, normal, inverse, norm)
        if last:
            grad_hidden.index_add_(0, packed.answered, grad_middle)
        else:
            grad_hidden += grad_middle
        grads = grad_norm, grad_query, grad_key, grad_value, grad_output, grad_mlp_norm, grad_gate, grad_up, grad_down
        return grad_hidden, None, None, None, None, None, None, *grads


def _plus_product(base: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`base` plus a product that may have a lower precision."""
    return torch.addmm(base, left, right) if base.dtype == left.dtype else base + left @ right


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
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, parts: list[AttentionPart], head_dim: int
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
    parts: list[AttentionPart],
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
