"""Beginnings that prompts share: the same logits with and without, computed once, in bounded memory."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.generation import DecodeLoop, Row, Sampling
from hfdistill.generation.prefixes import BLOCK, Prefixes

from ..families import FAMILIES
from ..watched_loop import keep_logits


def few_shot(count, seed=0, examples=70, longest=30):
    """Questions behind the same examples, some of which begin alike, and a few without examples."""
    rng = random.Random(seed)
    shots = [rng.randrange(3, 60) for _ in range(examples)]
    alike = [rng.randrange(3, 60) for _ in range(40)]
    found = []
    for index in range(count):
        question = [rng.randrange(3, 60) for _ in range(rng.randint(1, longest))]
        found.append([shots + question, shots + alike + question, question, shots[:65], shots][index % 5])
    return found


def run(model, prompts, at_once, prefix_bytes, temperature=0.7):
    """All logits of all rows, and their texts; rows join as places become free."""
    loop = DecodeLoop(model, eos_token_id=2, pad_token_id=0, max_rows=at_once, prefix_bytes=prefix_bytes)
    seen, texts = keep_logits(loop), {}
    rows = [
        Row(prompt, Sampling(1 + index % 6, temperature * (index % 2), seed=index), tag=index)
        for index, prompt in enumerate(prompts)
    ]
    with torch.inference_mode():
        while rows or loop.rows:
            loop.add([rows.pop(0) for _ in range(min(loop.free, len(rows)))])
            texts.update({row.tag: row.token_ids for row in loop.step()})
    return seen, texts, loop.prefixes


@pytest.mark.parametrize("family", ["llama3", "qwen2", "gemma3", "gemma2", "mistral", "qwen3"])
@pytest.mark.parametrize("at_once", [3, 16])
def test_logits_and_texts_are_the_same_with_and_without(family, at_once):
    model = FAMILIES[family](60).double().eval()
    prompts = few_shot(40)
    without, expected, nothing = run(model, prompts, at_once, 0)
    logits, texts, kept = run(model, prompts, at_once, 2**28)
    assert texts == expected
    assert nothing.bytes == nothing.tokens_saved == 0
    assert kept.tokens_saved > 1000
    for index, steps in without.items():
        torch.testing.assert_close(torch.stack(logits[index]), torch.stack(steps), rtol=1e-5, atol=1e-5)


def test_a_small_llama_s_logits_are_the_same_bits_in_float32():
    rows, weights = torch.randn(64, 48), torch.randn(144, 48)
    if not all(torch.equal((rows @ weights.T)[:count], rows[:count] @ weights.T) for count in (8, 9, 31)):
        pytest.skip("this machine's matrix library sums in an order that depends on the number of rows")
    model = FAMILIES["smollm2"](60)
    prompts = few_shot(30)
    without, expected, _ = run(model, prompts, 16, 0)
    logits, texts, _ = run(model, prompts, 5, 2**28)
    assert texts == expected
    assert all(torch.equal(torch.stack(logits[index]), torch.stack(steps)) for index, steps in without.items())


def test_long_beginnings_are_read_once_for_all_rows_and_the_greedy_texts_stay_those_of_transformers():
    model = FAMILIES["smollm2"](60)
    prompts = [*few_shot(25, examples=300)[::5], *few_shot(5, examples=300)[:1], *few_shot(5, examples=300)[4:]]
    loop = DecodeLoop(model, eos_token_id=2, pad_token_id=0, max_rows=4)
    decode, asked, texts = loop.forward.decode, set(), {}

    def noted(tokens, positions, length, alike):
        asked.add(alike)
        return decode(tokens, positions, length, alike)

    loop.forward.decode = noted
    rows = [Row(prompt, Sampling(2 + index, 0), tag=index) for index, prompt in enumerate(prompts)]
    with torch.inference_mode():
        while rows or loop.rows:
            loop.add([rows.pop(0) for _ in range(min(loop.free, len(rows)))])
            texts.update({row.tag: row.token_ids for row in loop.step()})
        for index, prompt in enumerate(prompts):
            ids = torch.tensor([prompt])
            options = {"max_new_tokens": 2 + index, "do_sample": False, "eos_token_id": 2, "pad_token_id": 0}
            options["attention_mask"] = torch.ones_like(ids)
            assert texts[index] == model.generate(ids, **options)[0, len(prompt) :].tolist()
    assert 288 in asked and min(asked) > 0


def test_examples_are_computed_once_and_for_prompts_to_come():
    model = FAMILIES["smollm2"](60)
    loop = DecodeLoop(model, eos_token_id=[], pad_token_id=0, max_rows=8)
    computed, shots = [], [3 + index % 50 for index in range(160)]
    fill = loop.forward._fill

    def counted(tokens, *arguments):
        computed.append(tokens.numel())
        fill(tokens, *arguments)

    loop.forward._fill = counted
    with torch.inference_mode():
        for first in (0, 8, 16):
            loop.add([Row([*shots, 3 + first + row, 5, 6], Sampling(1)) for row in range(8)])
            loop.step()
    # One prompt whole, and eight tokens, the fewest of a pass, of each of the others.
    assert computed == [162, 7 * 8, 8 * 8, 8 * 8]


def states_of(tokens):
    return [torch.tensor(tokens, dtype=torch.float64)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), min_size=1, max_size=5), max_size=25),
    st.integers(0, 12),
)
def test_what_is_held_is_the_prompt_s_own_and_memory_is_bounded(runs, blocks):
    most = blocks * BLOCK * 8
    prefixes = Prefixes(most)
    prompts = [tuple(token for token, times in prompt for _ in range(times)) for prompt in runs]
    for start in range(0, len(prompts), 3):
        batch = list(dict.fromkeys(prompts[start : start + 3]))
        joined = []
        for wave in prefixes.waves(batch):
            for one in wave:
                assert one.past < len(one.prompt)
                tokens = torch.cat([torch.zeros(0), *(block.states[0] for block in one.held)]).tolist()
                assert tuple(tokens) == one.prompt[: one.past]
                assert one.left == len(one.prompt) - one.past
                prefixes.keep(one, lambda first, last, prompt=one.prompt: states_of(prompt[first:last]))
                assert prefixes.bytes <= most
            joined += wave
        assert sorted(one.prompt for one in joined) == sorted(batch)


def test_two_beginnings_of_one_hash_are_not_taken_for_each_other(monkeypatch):
    monkeypatch.setattr("hfdistill.generation.prefixes.hash", lambda value: 7, raising=False)
    prefixes = Prefixes(2**20)
    for token in (1, 2, 1, 2):
        for wave in prefixes.waves([(token,) * 100]):
            for one in wave:
                assert {block.tokens[0] for block in one.held} <= {token}
                prefixes.keep(one, lambda first, last, token=token: states_of([token] * (last - first)))
