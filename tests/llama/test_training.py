"""The written-out pass against transformers' own: hidden states, and the gradient of every weight."""

import pytest
import torch
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from hfdistill.llama import Passage, hidden_states
from hfdistill.llama.eligibility import is_plain_llama


LENGTHS = [11, 9, 9, 5, 4, 1]
FIRST = [3, 8, 0, 2, 3, 0]


def make(dtype=torch.float64, cls=LlamaModel, **options):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = cls(LlamaConfig(vocab_size=20, max_position_embeddings=64, pad_token_id=0, **{**sizes, **options}))
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data.uniform_(0.5, 1.5)
    return model.to(dtype).eval()


def sequences(lengths=LENGTHS):
    generator = torch.Generator().manual_seed(1)
    # Token 0 is the pad token, whose embedding gets no gradient.
    return [torch.randint(20, (length,), generator=generator).tolist() for length in lengths]


def passage(rows, first):
    """All positions from `first` on, as those of responses are."""
    return Passage.of_responses([[*ids, 0] for ids in rows], [start + 1 for start in first], 0, torch.device("cpu"))


def read(model, rows, first):
    states = hidden_states(model, passage(rows, first))
    return torch.cat([row[: len(ids) - start] for row, ids, start in zip(states, rows, first, strict=True)])


def one_by_one(model, rows, first):
    return torch.cat(
        [model(torch.tensor([ids])).last_hidden_state[0, start:] for ids, start in zip(rows, first, strict=True)]
    )


def gradients(model, states):
    """States, and what every parameter gets of them."""
    loss = (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum()
    return [states, *torch.autograd.grad(loss, list(model.parameters()))]


def exact_norm(self, hidden):
    """transformers' norm computes in float32 whatever its input's type."""
    return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_hidden_layers": 1},
        {"num_key_value_heads": 2, "head_dim": 16},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}, "rms_norm_eps": 0.1},
    ],
    ids=["plain", "one layer", "grouped queries", "rope and epsilon"],
)
@pytest.mark.parametrize("part_tokens", [1024, 12])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [3, 0, 5, 2, 4, 1]], ids=["sorted", "mixed"])
def test_states_and_gradients_are_the_models_own(monkeypatch, options, part_tokens, order):
    monkeypatch.setattr(LlamaRMSNorm, "forward", exact_norm)
    monkeypatch.setattr("hfdistill.llama.passage._PART_TOKENS", part_tokens)
    model, rows, first = make(**options), [sequences()[i] for i in order], [FIRST[i] for i in order]
    assert is_plain_llama(model, 512)
    results = []
    for states in (one_by_one(model, rows, first), read(model, rows, first)):
        results.append(gradients(model, states))
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_float32_is_close():
    model, rows = make(torch.float32), sequences()
    torch.testing.assert_close(read(model, rows, FIRST), one_by_one(model, rows, FIRST))


def test_wanted_states_in_rows():
    packed = passage(sequences(), FIRST).packed
    padded = packed.in_rows(packed.positions[packed.answered])
    assert padded.shape == (6, 9)
    for row, start, length in zip(padded.tolist(), FIRST, LENGTHS, strict=True):
        assert row[: length - start] == list(range(start, length))
        assert set(row[length - start :]) <= {length - 1}


def hooked(model):
    model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: output * 2)
    return model


def checkpointed(model):
    model.gradient_checkpointing_enable()
    return model


def replaced(model):
    model.norm.forward = lambda hidden: hidden
    return model


def adapted(model):
    peft = pytest.importorskip("peft")
    model.add_adapter(peft.LoraConfig(target_modules=["q_proj"]))
    return model


@pytest.mark.parametrize(
    "change",
    [
        lambda model: make(hidden_act="gelu"),
        lambda model: make(attention_bias=True),
        lambda model: make(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
        lambda model: model.bfloat16(),
        hooked,
        checkpointed,
        replaced,
        adapted,
    ],
    ids=["activation", "bias", "moving positions", "bfloat16", "hook", "checkpointing", "replaced", "adapter"],
)
def test_what_it_does_not_compute_is_left_to_the_model(change):
    assert not is_plain_llama(change(make()), 512)


@pytest.mark.parametrize("options", [{}, {"num_key_value_heads": 2, "head_dim": 16}], ids=["plain", "grouped queries"])
def test_mixed_precision_is_as_near_as_the_model_s_own(options):
    model, rows = make(torch.float32, **options), sequences()
    exact = gradients(model, one_by_one(model, rows, FIRST))
    with torch.autocast("cpu", torch.bfloat16):
        assert is_plain_llama(model, 512)
        states = one_by_one(model, rows, FIRST), read(model, rows, FIRST)
    theirs, ours = (gradients(model, found) for found in states)
    for expected, their, our in zip(exact, theirs, ours, strict=True):
        assert our.dtype == torch.float32
        assert 0 < (our - expected).norm() <= 1.5 * (their - expected).norm()


def test_mixed_precision_says_the_same_to_the_bit_with_a_gradient_and_without():
    model, rows = make(torch.float32), sequences()
    with torch.autocast("cpu", torch.bfloat16):
        first = read(model, rows, FIRST)
        # A backward pass within autocast, too.
        first.sum().backward()
        with torch.no_grad():
            assert torch.equal(read(model, rows, FIRST), first)


def test_float64_is_left_alone_by_mixed_precision():
    model, rows = make(), sequences()
    with torch.autocast("cpu", torch.bfloat16):
        states = read(model, rows, FIRST)
    assert torch.equal(states, read(model, rows, FIRST))


def test_long_sequences_are_left_to_the_model():
    assert not is_plain_llama(make(), 513)
