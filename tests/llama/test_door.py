"""One way for any model: what is asked by meaning, and nobody else asks which kind of model it is."""

import re
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

import hfdistill
from hfdistill.llama import Passage, computes_no_padding, decoding_passes, hidden_states, read_logits


SHAPE = {
    "vocab_size": 30,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
}
SEQUENCES = [[5, 6, 7, 8, 9], [3, 4, 5, 6, 7, 8, 9, 10, 11], [12, 13], [14, 15, 16, 17, 18, 19]]
PROMPTS = [2, 5, 1, 5]


@pytest.fixture(params=FAMILIES)
def model(request):
    torch.manual_seed(0)
    return FAMILIES[request.param]().eval()


def of_responses():
    return Passage.of_responses(SEQUENCES, PROMPTS, 0, torch.device("cpu"))


def test_hidden_states_before_each_response_token(model):
    states = hidden_states(model.base_model, of_responses())
    assert states.shape == (4, 4, 32)
    for row, ids, start in zip(states, SEQUENCES, PROMPTS, strict=True):
        expected = model.base_model(torch.tensor([ids])).last_hidden_state[0, start - 1 : -1]
        torch.testing.assert_close(row[: len(expected)], expected)


def test_hidden_states_at_any_positions(model):
    ids = torch.tensor([[5, 6, 7, 8, 0, 0], [3, 4, 5, 6, 7, 8]])
    positions = torch.tensor([[3, 0, 1], [2, 5, 2]])
    states = hidden_states(model.base_model, Passage(ids, positions))
    for row, length, wanted, got in zip(ids, (4, 6), positions, states, strict=True):
        torch.testing.assert_close(got, model.base_model(row[None, :length]).last_hidden_state[0, wanted])


def test_sequences_that_share_a_row(model):
    """A prompt of two tokens with two responses, which see it and themselves."""
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    mask[4, 2:4] = False
    positions = torch.tensor([[0, 1, 2, 3, 2]])
    states = hidden_states(model.base_model, Passage(ids, torch.tensor([[3, 4]]), mask[None, None], positions))
    for got, alone in zip(states[0], ([5, 6, 7, 8], [5, 6, 9]), strict=True):
        torch.testing.assert_close(got, model.base_model(torch.tensor([alone])).last_hidden_state[0, -1])


@pytest.mark.parametrize("with_hidden_states", [False, True])
def test_logits_of_each_response_token(model, with_hidden_states):
    def log_probs_of(logits, tokens):
        assert logits.shape[:-1] == tokens.shape
        return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0], None

    passage = of_responses()
    (log_probs, nothing), hidden = read_logits(model, passage, log_probs_of, with_hidden_states)
    assert log_probs.shape == (4, 4) and nothing is None
    for row, ids, start in zip(log_probs, SEQUENCES, PROMPTS, strict=True):
        expected = model(torch.tensor([ids])).logits[0, start - 1 : -1].log_softmax(-1)
        expected = expected.gather(-1, torch.tensor(ids[start:])[:, None])[:, 0]
        torch.testing.assert_close(row[: len(expected)], expected)
    if with_hidden_states:
        torch.testing.assert_close(hidden, hidden_states(model.base_model, passage))
    else:
        assert hidden is None


def test_decoding_continues_a_prompt(model):
    passes = decoding_passes(model, 4)
    with torch.no_grad():
        passes.prefill(torch.tensor([[5, 6, 7], [3, 4, 0]]), 0)
        logits = passes.decode(torch.tensor([8, 9]), torch.tensor([3, 2]), 4)
        for row, ids in zip(logits, ([5, 6, 7, 8], [3, 4, 9]), strict=True):
            torch.testing.assert_close(row, model(torch.tensor([ids])).logits[0, -1])


def test_padding_is_free_where_the_pass_is_written_out():
    for family, free in (("llama", True), ("qwen3", False), ("gpt2", False)):
        assert computes_no_padding(FAMILIES[family]().base_model, 64) == free


def test_nobody_else_asks_which_kind_of_model_it_is():
    package = Path(hfdistill.__file__).parent
    inside = re.compile(
        r"\b(is_plain_llama|is_small_llama|is_plain_config|read_hidden_states|LlamaForward|SlotForward)\b"
        r"|\bllama\.(eligibility|training|decoding|passage|slots)\b|isinstance\([^)]*Llama"
    )
    found = [
        f"{path.relative_to(package)}: {match.group()}"
        for path in package.rglob("*.py")
        if path.parent != package / "llama"
        for match in inside.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found
