import random

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hfdistill.generation import DecodeLoop, Row, Sampling, generate
from hfdistill.llama.decoding import LlamaForward
from hfdistill.llama.eligibility import is_small_llama
from hfdistill.llama.slots import SlotForward

from ..watched_loop import keep_logits


def make(dtype=torch.float32, **changes):
    torch.manual_seed(0)
    shape = {
        "vocab_size": 70,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 256,
    }
    model = LlamaForCausalLM(LlamaConfig(**{**shape, **changes})).to(dtype).eval()
    model.get_output_embeddings().weight.data *= 8
    return model


LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_key_value_heads": 2, "head_dim": 16},
        {"tie_word_embeddings": True, "num_hidden_layers": 1},
        {"rope_parameters": LLAMA_3_ROPE},
    ],
    ids=["plain", "shared heads", "tied", "llama 3 positions"],
)
def test_passes_equal_the_model_s_own(changes):
    model = make(torch.float64, **changes)
    assert is_small_llama(model)
    ours, theirs = LlamaForward(model, 12), SlotForward(model, 12)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(70, (5, 37), generator=generator)
    positions = torch.tensor([37, 20, 9, 1, 30])
    with torch.no_grad():
        for forward in (ours, theirs):
            forward.prefill(prompts, 0)
        for _ in range(40):
            tokens = torch.randint(70, (5,), generator=generator)
            length = int(positions.max()) + 1
            ours_now, theirs_now = (forward.decode(tokens, positions, length) for forward in (ours, theirs))
            # transformers' norms round to float32 inside whatever the model's type.
            torch.testing.assert_close(ours_now, theirs_now, rtol=1e-4, atol=1e-4)
            positions = positions + 1


@pytest.mark.parametrize("rows", [3, 12])
@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 2, "head_dim": 16}], ids=["plain", "shared heads"])
def test_a_beginning_that_is_read_once_for_all_rows_is_the_one_that_each_has(changes, rows):
    model = make(torch.float64, **changes)
    once, each = LlamaForward(model, 12), LlamaForward(model, 12)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(70, (rows, 60), generator=generator)
    prompts[:, :48] = prompts[0, :48]
    positions = torch.randint(48, 61, (rows,), generator=generator)
    with torch.no_grad():
        for forward in (once, each):
            forward.prefill(prompts, 0)
        for _ in range(30):
            tokens, length = torch.randint(70, (rows,), generator=generator), int(positions.max()) + 1
            torch.testing.assert_close(
                once.decode(tokens, positions, length, 48), each.decode(tokens, positions, length)
            )
            positions = positions + 1


@pytest.mark.parametrize(
    ("model", "small"),
    [
        (lambda: make(), True),
        (lambda: make(torch.bfloat16), False),
        (lambda: make(hidden_act="gelu"), False),
        (lambda: make(attention_bias=True), False),
        (lambda: make(rope_parameters={"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}), False),
        (lambda: adapted(make()), False),
    ],
    ids=["float32", "bfloat16", "gelu", "bias", "moving positions", "adapter"],
)
def test_what_it_does_not_compute_goes_through_the_model(model, small):
    model = model()
    assert is_small_llama(model) == small
    loop = DecodeLoop(model, eos_token_id=2, pad_token_id=0, max_rows=4)
    assert isinstance(loop.forward, LlamaForward if small else SlotForward)


class Adapted(torch.nn.Linear):
    def forward(self, hidden):
        return super().forward(hidden) * 2


def adapted(model):
    projection = Adapted(48, 48, bias=False)
    model.model.layers[0].self_attn.q_proj = projection
    return model


@pytest.mark.parametrize("width", [64, 128])
def test_mixed_precision_is_as_near_as_the_model_s_own(width):
    model = make(num_key_value_heads=2, hidden_size=width)
    prompts, tokens, positions = torch.arange(10).view(1, 10), torch.tensor([11]), torch.tensor([10])

    def logits(make_passes):
        passes = make_passes(model, 4)
        passes.prefill(prompts, 0)
        return passes.decode(tokens, positions, 11).float()

    with torch.no_grad():
        exact = logits(SlotForward)
        with torch.autocast("cpu", torch.bfloat16):
            assert is_small_llama(model)
            theirs, ours = logits(SlotForward), logits(LlamaForward)
    assert (ours - exact).norm() <= 1.5 * (theirs - exact).norm()
    # Narrow ones stay exact: there that is the faster way.
    assert torch.allclose(ours, exact, atol=1e-4) == (width == 64)


def test_float32_logits_are_the_same_bits_in_any_batch():
    rows, weights = torch.randn(64, 48), torch.randn(144, 48)
    if not all(torch.equal((rows @ weights.T)[:count], rows[:count] @ weights.T) for count in (8, 9, 31)):
        pytest.skip("this machine's matrix library sums in an order that depends on the number of rows")
    model = make()
    rng = random.Random(0)
    prompts = [[rng.randrange(3, 70) for _ in range(rng.randint(1, 50))] for _ in range(30)]
    settings = [Sampling(max_new_tokens=rng.randint(1, 50), temperature=1.0, seed=row) for row in range(30)]

    def run(order, at_once):
        loop = DecodeLoop(model, eos_token_id=2, pad_token_id=0, max_rows=at_once)
        seen = keep_logits(loop)
        waiting = list(order)
        with torch.inference_mode():
            while waiting or loop.rows:
                joining = [waiting.pop(0) for _ in range(min(loop.free, len(waiting)))]
                loop.add([Row(prompts[index], settings[index], tag=index) for index in joining])
                loop.step()
        return seen

    first = run(range(30), 30)
    shuffled = list(range(30))
    rng.shuffle(shuffled)
    for again in (run(shuffled, 7), run(shuffled, 1)):
        for index in range(30):
            assert len(first[index]) == len(again[index])
            assert all(torch.equal(a, b) for a, b in zip(first[index], again[index], strict=True))


def test_weights_are_those_of_the_moment_of_the_call():
    model = make()
    sampling = Sampling(max_new_tokens=10)
    before = generate(model, [[5, 6, 7]], sampling, eos_token_id=2, pad_token_id=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    after = generate(model, [[5, 6, 7]], sampling, eos_token_id=2, pad_token_id=0)
    assert before != after
    expected = model.generate(
        torch.tensor([[5, 6, 7]]), max_new_tokens=10, do_sample=False, eos_token_id=2, pad_token_id=0
    )
    assert after[0].token_ids == [token for token in expected[0, 3:].tolist() if token != 2]
