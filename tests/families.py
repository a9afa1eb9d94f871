"""Tiny random models of the families that students come from, each with what is structural about it: which heads are
grouped, fused or normed, how far a layer looks, how positions turn, where logits are bent, what is tied.

    model = FAMILIES["qwen3"](vocab_size=300, pad_token_id=0, eos_token_id=[1, 2])
    model = for_tokenizer("gemma2", tokenizer, overhang=16)
"""

from collections.abc import Callable

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)


WINDOW = 8
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    # Tied models of this size repeat their input where the embedding outweighs the layers; Gemma multiplies its own.
    "initializer_range": 0.3,
}


def _make(cls: type[PreTrainedModel], config_cls: type, seed: int, **settings) -> PreTrainedModel:
    torch.manual_seed(seed)
    model = cls(config_cls(**{**SIZES, **settings}))
    # Norms as training leaves them, and not all alike.
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.add_(torch.rand_like(parameter) * 0.5)
    return model.eval()


def llama3(vocab_size: int, seed: int = 0, **settings) -> PreTrainedModel:
    """Llama 3.2: grouped heads, tied, positions stretched in three bands."""
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    shape = {"tie_word_embeddings": True, "rope_parameters": rope, "head_dim": 8}
    return _make(LlamaForCausalLM, LlamaConfig, seed, vocab_size=vocab_size, **{**shape, **settings})


def smollm2(vocab_size: int, seed: int = 0, **settings) -> PreTrainedModel:
    """SmolLM2: a Llama of three queries a key, tied."""
    shape = {"hidden_size": 48, "num_attention_heads": 6, "tie_word_embeddings": True}
    return _make(LlamaForCausalLM, LlamaConfig, seed, vocab_size=vocab_size, **{**shape, **settings})


def qwen2(vocab_size: int, seed: int = 0, **settings) -> PreTrainedModel:
    """Qwen2.5: biases in attention, tied."""
    shape = {"tie_word_embeddings": True}
    model = _make(Qwen2ForCausalLM, Qwen2Config, seed, vocab_size=vocab_size, **{**shape, **settings})
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 0.2)
    return model


def qwen3(vocab_size: int, seed: int = 0, **settings) -> PreTrainedModel:
    """Qwen3: norms on queries and keys, heads wider than the model, tied."""
    shape = {"head_dim": 16, "tie_word_embeddings": True}
    return _make(Qwen3ForCausalLM, Qwen3Config, seed, vocab_size=vocab_size, **{**shape, **settings})


def gemma2(vocab_size: int, seed: int = 0, **settings) -> PreTrainedModel:
    """Gemma 2: soft caps on attention and logits, every other layer a window, tied; no sdpa."""
    shape = {
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "initializer_range": 0.05,
        "sliding_window": WINDOW,
        # So low that they bend what so small a model says.
        "attn_logit_softcapping": 0.5,
        "final_logit_softcapping": 2.0,
    }
    return _make(Gemma2ForCausalLM, Gemma2Config, seed, vocab_size=vocab_size, **{**shape, **settings})


def gemma3(vocab_size: int, seed: int = 0, **settings) -> PreTrainedModel:
    """Gemma 3, the text model: one key head, windows and a full layer whose positions turn otherwise, tied."""
    shape = {
        "num_hidden_layers": 3,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "initializer_range": 0.05,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    }
    return _make(Gemma3ForCausalLM, Gemma3TextConfig, seed, vocab_size=vocab_size, **{**shape, **settings})


def phi3(vocab_size: int, seed: int = 0, **settings) -> PreTrainedModel:
    """Phi-4-mini: queries, keys and values in one matrix, gate and up in another, three quarters of a head turn, a
    window over all layers, tied.
    """
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.75}
    shape = {"rope_parameters": rope, "sliding_window": WINDOW, "tie_word_embeddings": True}
    # Its config's own pad and end tokens lie beyond so small a vocabulary.
    ids = {"pad_token_id": None, "eos_token_id": None}
    return _make(Phi3ForCausalLM, Phi3Config, seed, vocab_size=vocab_size, **{**shape, **ids, **settings})


def mistral(vocab_size: int, seed: int = 0, **settings) -> PreTrainedModel:
    """Mistral 7B: grouped heads, a window over all layers, not tied."""
    shape = {"sliding_window": WINDOW}
    return _make(MistralForCausalLM, MistralConfig, seed, vocab_size=vocab_size, **{**shape, **settings})


FAMILIES: dict[str, Callable[..., PreTrainedModel]] = {
    "llama3": llama3,
    "smollm2": smollm2,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "phi3": phi3,
    "mistral": mistral,
}


def for_tokenizer(
    family: str, tokenizer: PreTrainedTokenizerBase, overhang: int = 0, seed: int = 0, **settings
) -> PreTrainedModel:
    """A model of a family for a tokenizer's vocabulary, `overhang` ids larger, as Qwen's and Phi's are."""
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return FAMILIES[family](len(tokenizer) + overhang, seed, **{**ids, **settings})
