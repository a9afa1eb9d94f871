"""Rewards that say what each token earns."""

from typing import ClassVar

import pytest
import torch
from ppo_toy import assert_same_weights, copy_reward, logged, make_trainer, weights
from test_resume import run

from hfdistill.errors import HFDistillError
from hfdistill.reward.rewards import Reward


EXACT = {"atol": 0, "rtol": 0}


class AtTheEnd(Reward):
    """Tells a token's reward, and gives all to the last."""

    name: ClassVar[str] = "copy_reward"
    dense: ClassVar[bool] = True

    def __call__(self, prompts, completions, completion_ids, **columns):
        return copy_reward(prompts, completions)

    def token_rewards(self, prompts, completions, completion_ids, **columns):
        totals = self(prompts, completions, completion_ids)
        return [[*[0.0] * (len(ids) - 1), total] for total, ids in zip(totals, completion_ids, strict=True)]


class Spread(AtTheEnd):
    """One for each token with an even id, which is what the call returns the sum of; nothing about empty answers."""

    name: ClassVar[str] = "spread"

    def __call__(self, prompts, completions, completion_ids, **columns):
        return [sum(row) for row in self.token_rewards(prompts, completions, completion_ids)]

    def token_rewards(self, prompts, completions, completion_ids, **columns):
        return [[float(token % 2 == 0) for token in ids] if len(ids) > 1 else None for ids in completion_ids]


def train(folder, reward, **options):
    trainer = make_trainer(folder, reward=reward, **options)
    trainer.train()
    return trainer


def test_all_at_the_last_token_is_the_plain_reward(tmp_path):
    plain = train(tmp_path, copy_reward, missing_eos_penalty=0.5)
    dense = train(tmp_path, AtTheEnd(), missing_eos_penalty=0.5)
    assert_same_weights(weights(plain.model), weights(dense.model), **EXACT)
    assert logged(plain, "objective/scores") == logged(dense, "objective/scores")


def test_tokens_earn_where_they_stand(tmp_path):
    options = {"kl_coef": 0.0, "lam": 1.0, "missing_eos_penalty": 0.5, "reward_weights": [3.0, 1.0]}
    trainer = train(tmp_path, [Spread(), copy_reward], **options)
    episodes = trainer.episodes
    for row, (ids, start) in enumerate(zip(episodes.sequences, episodes.prompt_lengths, strict=True)):
        response = ids[start:]
        prompt, completion = (trainer.encoder.decode(part) for part in (ids[:start], response))
        earned = [3.0 * (token % 2 == 0) * (len(response) > 1) for token in response]
        earned[-1] += copy_reward([prompt], [completion])[0] - 0.5 * (response[-1] != 1)
        assert episodes.scores[row].item() == pytest.approx(sum(earned), abs=1e-5)
        # Undiscounted and without KL, a return is what is earned from there on.
        to_come = torch.tensor(earned).flip(0).cumsum(0).flip(0)
        torch.testing.assert_close(episodes.returns[row, : len(earned)], to_come, atol=1e-4, rtol=0)
    assert len(logged(trainer, "rewards/spread")) == 2


@pytest.mark.parametrize(
    "values,found", [([1.0], "1 values for a completion of"), (1.0, "float"), (["a"] * 9, "9 values")], ids=str
)
def test_what_it_returns_is_checked(tmp_path, values, found):
    class Wrong(Spread):
        def token_rewards(self, prompts, completions, completion_ids, **columns):
            return [values for _ in completion_ids]

    with pytest.raises(HFDistillError, match=found):
        train(tmp_path, Wrong())


def test_a_killed_run_goes_on_with_its_tokens(tmp_path):
    whole = run(tmp_path / "whole", reward=Spread())
    run(tmp_path / "cut", reward=Spread(), stop=5)
    assert_same_weights(weights(run(tmp_path / "cut", reward=Spread()).model), weights(whole.model), **EXACT)
