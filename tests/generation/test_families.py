"""Every family of students says what transformers' own generation says, token by token."""

import random

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from hfdistill.errors import HFDistillError
from hfdistill.generation import DecodeLoop, Sampling, generate
from hfdistill.llama import Passage, hidden_states

from ..families import FAMILIES, WINDOW


ENDS = [2, 7]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers_beyond_the_window_and_at_every_end_token(family):
    model = FAMILIES[family](60, pad_token_id=0, eos_token_id=ENDS).double()
    rng = random.Random(0)
    prompts = [[rng.randrange(3, 60) for _ in range(length)] for length in (1, 2, 5, 7, 8, 9, 13, 20, 24, 24)]
    prompts.append(prompts[3])
    ours = generate(model, prompts, Sampling(3 * WINDOW), eos_token_id=ENDS, pad_token_id=0, batch_size=4)
    seen = set()
    for prompt, response in zip(prompts, ours, strict=True):
        theirs = model.generate(torch.tensor([prompt]), max_new_tokens=3 * WINDOW, do_sample=False)[0, len(prompt) :]
        theirs = theirs.tolist()
        ended = theirs[-1] in ENDS
        assert response.token_ids == (theirs[:-1] if ended else theirs)
        assert response.finish_reason == ("eos_token" if ended else "length")
        seen.update(theirs)
    assert len(seen) > 12


def without_masks(module, query, key, value, attention_mask, **options):
    """Attends as flash_attention_2 does, which is causal by itself and takes no mask of ours."""
    assert attention_mask is None
    return sdpa_attention_forward(module, query, key, value, None, **options)


def no_mask(*args, **kwargs):
    return None


def with_such_a_kernel(family, **settings):
    AttentionInterface.register("without_masks", without_masks)
    AttentionMaskInterface.register("without_masks", no_mask)
    return FAMILIES[family](60, attn_implementation="without_masks", **settings)


@pytest.mark.parametrize("family", ["qwen2", "llama3"])
def test_a_kernel_without_masks_trains_and_generation_goes_another_way(family):
    plain, model = FAMILIES[family](60), with_such_a_kernel(family)
    prompts, wanted = [[5, 6, 7], [8, 9], [4] * 20], Sampling(12, 1.0, seed=0)
    expected = generate(plain, prompts, wanted, eos_token_id=2, pad_token_id=0)
    assert generate(model, prompts, wanted, eos_token_id=2, pad_token_id=0) == expected
    assert model.config._attn_implementation == "without_masks"
    passage = Passage.of_responses([[5, 6, 7, 8], [9, 10, 11]], [2, 1], 0, torch.device("cpu"))
    states = hidden_states(model.base_model, passage)
    torch.testing.assert_close(states, hidden_states(plain.base_model, passage))
    states.sum().backward()


def test_after_an_error_the_model_attends_as_before_and_a_loop_of_ones_own_is_told():
    model = with_such_a_kernel("qwen2")
    with pytest.raises(HFDistillError, match="no token at all"):
        generate(model, [[]], Sampling(2), eos_token_id=2, pad_token_id=0)
    assert model.config._attn_implementation == "without_masks"
    with pytest.raises(HFDistillError, match="'without_masks'"):
        DecodeLoop(model, eos_token_id=2, pad_token_id=0, max_rows=1)
