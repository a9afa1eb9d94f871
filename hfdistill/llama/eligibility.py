"""Which models the passes written out here stand in for: where they compute the same, and sooner."""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.activations import SiLUActivation
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
)


# Attention weights are kept, the square of a length; from here on the model's own attention is the faster one.
_LONGEST = 512
# In decoding: from here on the copy of the weights costs more than the many small operations.
_MOST_PARAMETERS = 50_000_000
_STEADY_ROPE = ("default", "linear", "llama3")
_TYPES = ({("cpu", torch.float32)}, {("cpu", torch.float64)})
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
    """Whether a Llama of this config computes what is written out in this folder."""
    return (
        config.hidden_act == "silu"
        and not config.attention_bias
        and not config.mlp_bias
        and config.rope_parameters["rope_type"] in _STEADY_ROPE
    )


def product_dtype(weight: torch.Tensor) -> torch.dtype:
    """What products with a weight on the CPU are made in: its own dtype, or that of autocast, which leaves float64
    alone.
    """
    mixed = torch.is_autocast_enabled("cpu") and weight.dtype == torch.float32
    return torch.get_autocast_dtype("cpu") if mixed else weight.dtype


def is_plain_llama(model: nn.Module, longest: int) -> bool:
    """Whether the training pass computes the same as the own forward of this backbone, or of a causal language
    model's, and sooner.

    Adapters, quantized or sharded weights, hooks and activation checkpointing all go their own way, and so do
    sequences whose `longest` has more than 512 tokens.
    """
    if type(model) not in (LlamaModel, LlamaForCausalLM) or not is_plain_config(model.config) or longest > _LONGEST:
        return False
    backbone = model.base_model
    if any(layer.gradient_checkpointing for layer in backbone.layers):
        return False
    types, modules = set(), [model]
    for module in modules:
        hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
        if hooked or type(module) not in _PLAIN:
            return False
        types.update((p.device.type, p.dtype) for p in module._parameters.values() if p is not None)
        modules += module._modules.values()
    return types in _TYPES


def is_small_llama(model: nn.Module) -> bool:
    """Whether the passes of decoding compute the same as this model's own forward, and are worth their copy of the
    weights.
    """
    if type(model) is not LlamaForCausalLM:
        return False
    parameters = list(model.parameters())
    return (
        sum(parameter.numel() for parameter in parameters) <= _MOST_PARAMETERS
        and {(parameter.device.type, parameter.dtype) for parameter in parameters} in _TYPES
        and is_plain_config(model.config)
        # Anything else in the place of a projection is an adapter or a quantized weight.
        and all(type(module) is nn.Linear for layer in model.model.layers for module in projections(layer))
    )


def projections(layer: LlamaDecoderLayer) -> list[nn.Module]:
    """A layer's linear maps: query, key, value, output, gate, up, down."""
    read, mlp = layer.self_attn, layer.mlp
    return [read.q_proj, read.k_proj, read.v_proj, read.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj]
