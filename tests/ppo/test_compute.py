"""What a PPO training cost, from its log."""

import pytest

from hfdistill.ppo.compute import compute_figures


def test_tokens_are_those_of_prompts_and_responses_and_trained_once_an_epoch():
    log = [{"completions/mean_length": 20.0}, {"loss": 1.0}, {"completions/mean_length": 30.0}]
    made = compute_figures((1000, 800), log, [[1] * 10, [1] * 20], episodes=64, epochs=4)
    assert (made["parameters"], made["tokens_sampled"], made["tokens_trained"]) == (1000, 64 * 40, 4 * 64 * 40)
    # 6 operations a parameter and trained token of both models, 2 a sampled token of the policy
    assert made["flops"] == pytest.approx(6 * 1800 * 10240 + 2 * 1000 * 2560)
    assert compute_figures((1, 1), [{"loss": 1.0}], [[1]], 1, 1) == {}
