"""A task whose optimum is known: PPO must come to within 5 % of it, whatever the seed."""

import pytest
import torch
from ppo_toy import WORDS, logged, make_policy, make_trainer


# Half a point if the answer to a letter starts with the letter after it, another half if it then ends: at most 1.
LETTERS = WORDS[4:]
FOLLOWING = dict(zip(LETTERS, [*LETTERS[1:], LETTERS[0]], strict=True))
QUESTIONS = [{"prompt": letter} for letter in LETTERS[:4]]


def following(prompts, completions, completion_ids, **columns):
    return [
        0.5 * (completion.split(" ")[0] == FOLLOWING[prompt])
        + 0.5 * (ids[-1] == 1 and completion == FOLLOWING[prompt])
        for prompt, completion, ids in zip(prompts, completions, completion_ids, strict=True)
    ]


@pytest.mark.parametrize(
    "seed,backbone",
    [
        (0, "separate"),
        (0, "shared"),
        *(pytest.param(seed, "separate", marks=pytest.mark.slow) for seed in (1, 2, 3, 4)),
    ],
)
def test_it_learns_the_task(tmp_path, seed, backbone):
    trainer = make_trainer(
        tmp_path,
        policy=make_policy(seed, num_hidden_layers=1, initializer_range=0.1),
        reward=following,
        train=QUESTIONS,
        seed=seed,
        value_backbone=backbone,
        rollout_batch_size=256,
        per_device_train_batch_size=256,
        total_episodes=256 * 60,
        max_completion_length=3,
        learning_rate=3e-3,
        kl_coef=0.02,
        logging_steps=4,
    )
    trainer.train()
    scores = logged(trainer, "objective/scores")
    assert scores[0] < 0.3
    assert sum(scores[-5:]) / 5 >= 0.95
    assert all(torch.isfinite(torch.tensor(logged(trainer, "loss"))))
