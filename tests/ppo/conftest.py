"""A policy of a few thousand parameters, a tokenizer of one token a word, and a task whose best reward is known."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast


WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", *"abcdefgh"]


def make_tokenizer():
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


def make_config(**kwargs):
    options = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaConfig(
        vocab_size=len(WORDS),
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        **{**options, **kwargs},
    )


def make_policy(seed=0, **kwargs):
    torch.manual_seed(seed)
    return LlamaForCausalLM(make_config(**kwargs))


def make_value_model(seed=1, **kwargs):
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(make_config(num_labels=1, **kwargs))


@pytest.fixture
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def policy():
    return make_policy()


@pytest.fixture
def value_model():
    return make_value_model()


def copy_reward(prompts, completions, **columns):
    """One point for each of the prompt's letters that stands at its place in the completion, up to 1."""
    scores = []
    for prompt, completion in zip(prompts, completions, strict=True):
        wanted, got = prompt.split(), completion.split()
        right = sum(a == b for a, b in zip(wanted, got, strict=False))
        scores.append((right - max(len(got) - len(wanted), 0)) / len(wanted))
    return scores


PROMPTS = [{"prompt": f"{a} {b}"} for a in "abcd" for b in "efgh"]
