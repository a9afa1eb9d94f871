import numpy as np
import pytest
import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from hfdistill.generation.choosing import Chooser, likelihoods
from hfdistill.generation.sampling import Sampling, row_seeds, uniforms


def assert_frequencies(counts, expected):
    """Pearson's statistic, at most four standard deviations above its mean."""
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = len(counts) - 1
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5


def no_history(row):
    return np.array([], dtype=np.int64), np.array([], dtype=np.int64)


def chooser_of(settings):
    chooser = Chooser(len(settings), torch.device("cpu"))
    for slot, sampling in enumerate(settings):
        chooser.place(slot, sampling)
    return chooser


def choose(chooser, logits, history=no_history, count=0):
    draws = chooser.draws(np.full(len(logits), count, dtype=np.int64))
    return chooser.choose(logits, torch.from_numpy(draws), history)


def scores_of(logits, **options):
    settings = [Sampling(max_new_tokens=1, seed=0, **options)] * len(logits)
    return choose(chooser_of(settings), logits)[1]


def test_noise_is_uniform_and_unrelated_between_seeds_and_steps():
    seeds = np.arange(20_000, dtype=np.uint64)
    first, second = uniforms(seeds, np.zeros(20_000, np.int64)), uniforms(seeds, np.ones(20_000, np.int64))
    for sample in (first, second, uniforms(np.full(20_000, 7, np.uint64), np.arange(20_000))):
        assert sample.min() >= 0 and sample.max() < 1
        assert_frequencies(np.histogram(sample, bins=50, range=(0, 1))[0], 400)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.03


def test_row_seeds_do_not_depend_on_how_many_and_differ():
    assert row_seeds(5, 100)[:10] == row_seeds(5, 10)
    assert len(set(row_seeds(5, 1000)) | set(row_seeds(6, 1000))) == 2000
    assert all(0 <= seed < 2**63 for seed in row_seeds(-1, 100))


def test_frequencies_follow_the_tempered_distribution():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5]).expand(20_000, 5)
    for temperature in (0.5, 1.0):
        settings = [Sampling(max_new_tokens=1, temperature=temperature, seed=row) for row in range(20_000)]
        tokens, _ = choose(chooser_of(settings), logits)
        expected = (logits[0].double() / temperature).softmax(0).numpy() * 20_000
        assert_frequencies(np.bincount(tokens.numpy(), minlength=5), expected)


@pytest.mark.parametrize("vocabulary", [1025, 2048, 3001])
def test_a_large_vocabulary_is_drawn_from_by_its_cumulative_distribution(vocabulary):
    logits = torch.randn(400, vocabulary, generator=torch.Generator().manual_seed(0)) * 4
    logits[:, 100:300] = logits[:, -3:] = -torch.inf
    settings = [Sampling(max_new_tokens=1, temperature=1 + row % 3, seed=row) for row in range(400)]
    chooser = chooser_of(settings)
    tokens, _ = choose(chooser, logits)
    exact = (logits.double() / torch.tensor([1 + row % 3 for row in range(400)])[:, None]).softmax(-1)
    above = exact.cumsum(-1).gather(-1, tokens[:, None])[:, 0]
    below = above - exact.gather(-1, tokens[:, None])[:, 0]
    noise = torch.from_numpy(chooser.draws(np.zeros(400, dtype=np.int64))[0])
    assert (below - 1e-6 <= noise).all() and (noise <= above + 1e-6).all()
    assert (logits.gather(-1, tokens[:, None]) > -torch.inf).all()
    alone = [choose(chooser_of([settings[row]]), logits[row : row + 1])[0].item() for row in range(400)]
    assert tokens.tolist() == alone


def test_frequencies_of_the_blocks_of_a_large_vocabulary():
    logits = torch.zeros(20_000, 2000)
    settings = [Sampling(max_new_tokens=1, temperature=1.0, seed=row) for row in range(20_000)]
    tokens, _ = choose(chooser_of(settings), logits)
    assert_frequencies(np.bincount(tokens.numpy() // 20, minlength=100), np.full(100, 200))
    assert_frequencies(np.bincount(tokens.numpy() % 20, minlength=20), np.full(20, 1000))


@pytest.mark.parametrize("vocabulary", [12, 2000])
@pytest.mark.parametrize("temperature", [0, 1.0, 0.5])
def test_no_token_is_drawn_from_what_is_no_number(vocabulary, temperature):
    logits = torch.randn(3, vocabulary, generator=torch.Generator().manual_seed(0))
    expected = choose(chooser_of([Sampling(1, temperature, seed=0)] * 3), logits)[0]
    logits[1, 5] = torch.nan
    tokens = choose(chooser_of([Sampling(1, temperature, seed=0)] * 3), logits)[0]
    assert tokens.tolist() == [expected[0], -1, expected[2]]


@pytest.mark.parametrize(
    ("options", "peer"),
    [
        ({"top_k": 7}, TopKLogitsWarper(7)),
        ({"top_p": 0.6}, TopPLogitsWarper(0.6)),
        ({"typical_p": 0.7}, TypicalLogitsWarper(0.7)),
    ],
)
def test_filters_keep_the_tokens_that_transformers_keeps(options, peer):
    logits = torch.randn(50, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    ours = scores_of(logits, temperature=1.0, **options)
    assert torch.equal(ours.isinf(), peer(None, logits.clone()).isinf())


def test_top_p_of_one_and_top_k_beyond_the_vocabulary_forbid_nothing():
    logits = torch.randn(10, 40, generator=torch.Generator().manual_seed(0)) * 30
    assert scores_of(logits, temperature=1.0, top_p=1.0, top_k=1000).isfinite().all()


def test_a_forbidden_token_is_never_drawn():
    logits = torch.zeros(5000, 10)
    settings = [Sampling(max_new_tokens=1, temperature=1.0, top_k=3, seed=row) for row in range(5000)]
    tokens, _ = choose(chooser_of(settings), logits)
    assert set(tokens.tolist()) == {0, 1, 2}


def test_penalties():
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(0))
    prompt, response = [1, 2, 3], [4, 4, 5]

    def history(row):
        return np.array(prompt + response), np.array(response)

    repetition = chooser_of([Sampling(max_new_tokens=1, repetition_penalty=1.5)])
    peer = RepetitionPenaltyLogitsProcessor(1.5)(torch.tensor([prompt + response]), logits.clone())
    torch.testing.assert_close(choose(repetition, logits, history, 3)[1], peer)
    frequency = chooser_of([Sampling(max_new_tokens=1, frequency_penalty=0.5)])
    expected = logits.clone()
    expected[0, 4] -= 1.0
    expected[0, 5] -= 0.5
    torch.testing.assert_close(choose(frequency, logits, history, 3)[1], expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("penalty", [1e-45, 1e38])
def test_a_penalty_without_measure_still_leaves_numbers(dtype, penalty):
    chooser = chooser_of([Sampling(max_new_tokens=1, temperature=1e-45, seed=0, repetition_penalty=penalty)])
    logits = torch.tensor([[3.0, -2.0, 1.0, 2.0, -1.0]], dtype=dtype)
    tokens, scores = choose(chooser, logits, lambda row: (np.array([0, 1]), np.array([0])))
    assert tokens.tolist() == ([0] if penalty < 1 else [3])
    assert not scores.isnan().any() and not scores.softmax(-1).isnan().any()


def test_likelihoods():
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    first, second = likelihoods(scores, torch.tensor([1, 2]), [2, 0])
    assert first.logprob == pytest.approx(np.log(0.3), abs=1e-6)
    assert [token for token, _ in first.top] == [0, 1]
    assert first.top[0][1] == pytest.approx(np.log(0.5), abs=1e-6)
    assert second.logprob == pytest.approx(np.log(0.8), abs=1e-6) and second.top == []


def test_what_is_forbidden_is_not_among_the_most_likely():
    scores = scores_of(torch.tensor([[3.0, 1.0, 2.0, 0.0]]), temperature=1.0, top_k=2)
    (likelihood,) = likelihoods(scores, torch.tensor([0]), [4])
    assert [token for token, _ in likelihood.top] == [0, 2]
