"""Responses from other back ends than our own loop, and the correction for what they sample differently."""

import math

import pytest
import torch
from ppo_toy import PROMPTS, logged, make_policy, make_trainer, weights

from hfdistill.errors import HFDistillError
from hfdistill.ppo.losses import importance_weights, policy_loss


CONTINUOUS = {
    "use_transformers_continuous_batching": True,
    "transformers_continuous_batching_config": {"page_size": 16, "max_batch_tokens": 64},
}


def test_importance_weights_by_hand():
    log_probs = torch.tensor([[-1.0, -1.0, -1.0, -500.0]])
    sampling = torch.tensor([[-1.5, -3.0, float("nan"), -1.0]])
    weights = importance_weights(log_probs, sampling, 3.0)
    assert weights[0].tolist() == pytest.approx([1.6487213, 3.0, 1.0, 0.0])


def test_weighing_advantages_is_weighing_the_loss():
    generator = torch.Generator().manual_seed(0)
    ratio, weight = torch.rand(2, 4, 5, generator=generator) * 2
    advantages = torch.randn(4, 5, generator=generator)
    weighed = policy_loss(ratio, weight * advantages, 0.2)
    torch.testing.assert_close(weighed, weight * policy_loss(ratio, advantages, 0.2))


def test_episodes_are_weighed_by_training_over_sampling(tmp_path):
    advantages = {}
    for correction in (False, True):
        options = {"vllm_importance_sampling_correction": correction, "vllm_importance_sampling_clip_max": 1.5}
        trainer = make_trainer(tmp_path, **options)
        trainer.rollouts.sampler = Other(trainer)
        episodes, figures, *_ = trainer.rollouts.collect(0, 0.05, trainer.state)
        advantages[correction] = episodes.advantages
    wanted = torch.tensor([1.25, 1.5, 1.0] * 2)[: episodes.mask.shape[1]].expand_as(advantages[True])
    torch.testing.assert_close(advantages[True], advantages[False] * wanted, atol=1e-3, rtol=0)
    assert figures["sampling/importance_sampling_ratio/min"] == pytest.approx(1.25, abs=1e-4)
    assert figures["sampling/importance_sampling_ratio/max"] == pytest.approx(1.5, abs=1e-4)
    assert figures["sampling/sampling_logp_difference/max"] == pytest.approx(0.6931, abs=1e-4)


class Other:
    """As if it sampled with 0.8 or half of the probabilities in training, or did not know."""

    FACTORS = (math.log(0.8), math.log(0.5), math.nan)

    def __init__(self, trainer):
        self.trainer, self.inner = trainer, trainer.rollouts.sampler

    def sample(self, prompt_ids, temperature, seeds):
        rows = self.inner.sample(prompt_ids, temperature, seeds)
        for prompt, row in zip(prompt_ids, rows, strict=True):
            row.log_probs = [value + self.FACTORS[i % 3] for i, value in enumerate(exact(self.trainer, prompt, row))]
        return rows


def exact(trainer, prompt, row):
    """Log-probabilities of a response's tokens in a plain forward pass."""
    ids = [*prompt, *row.token_ids, *([1] if row.finish_reason == "eos_token" else [])]
    with torch.no_grad():
        logits = trainer.model.policy(torch.tensor([ids])).logits[0].double() / trainer.args.temperature
    return [logits[t - 1].log_softmax(-1)[ids[t]].item() for t in range(len(prompt), len(ids))]


def test_our_own_loop_needs_no_correction(tmp_path):
    trainer = make_trainer(tmp_path)
    episodes, figures, *_ = trainer.rollouts.collect(0, 0.05, trainer.state)
    assert episodes.sampling_log_probs is None
    assert not any(name.startswith("sampling/") for name in figures)


def test_continuous_batching_samples_from_the_policy_as_it_is(tmp_path):
    policy = make_policy(initializer_range=0.5)
    policy.generation_config.update(do_sample=True, top_k=1, temperature=0.1)
    trainer = make_trainer(tmp_path, policy=policy, temperature=0.7, generation_batch_size=5, **CONTINUOUS)
    prompts = [ids for ids in trainer.rollouts.prompts.prompt_ids for _ in range(2)]
    sampler = trainer.rollouts.sampler
    before = torch.random.get_rng_state()
    rows = sampler.sample(prompts, 0.7, seeds=list(range(len(prompts))))
    assert torch.equal(torch.random.get_rng_state(), before)
    for prompt, row in zip(prompts, rows, strict=True):
        assert row.log_probs == pytest.approx(exact(trainer, prompt, row), abs=1e-4)
        assert 1 not in row.token_ids
        assert (row.finish_reason == "length") == (len(row.log_probs) == len(row.token_ids) == 6)
    assert {row.finish_reason for row in rows} == {"eos_token", "length"}
    assert sampler.sample(prompts, 0.7, seeds=[1] * len(prompts)) != rows
    # Greedy, both back ends agree.
    ours = make_trainer(tmp_path, policy=policy).rollouts.sampler.sample(prompts, 0.0)
    theirs = sampler.sample(prompts, 0.0)
    assert [(row.token_ids, row.finish_reason) for row in theirs] == [
        (row.token_ids, row.finish_reason) for row in ours
    ]


def test_training_with_continuous_batching(tmp_path):
    trainer = make_trainer(tmp_path, evaluate=PROMPTS, eval_strategy="steps", eval_steps=4, **CONTINUOUS)
    before = weights(trainer.model.policy)
    trainer.train()
    assert logged(trainer, "policy/approxkl_avg")[0] == 0  # old log-probabilities are still the training's own
    assert logged(trainer, "sampling/importance_sampling_ratio/mean") == pytest.approx([1, 1], abs=1e-4)
    assert 0 < max(logged(trainer, "sampling/sampling_logp_difference/max")) < 1e-4
    assert len(logged(trainer, "eval_reward")) == 2
    assert any(not torch.equal(value, before[name]) for name, value in weights(trainer.model.policy).items())


def test_a_cache_too_small_for_a_prompt_is_said_to_be(tmp_path):
    options = {"page_size": 16, "max_batch_tokens": 64, "num_blocks": 1}
    trainer = make_trainer(
        tmp_path, **{**CONTINUOUS, "transformers_continuous_batching_config": options, "max_completion_length": 40}
    )
    with pytest.raises(HFDistillError, match="raise num_blocks"):
        trainer.rollouts.sampler.sample([[4, 5, 6]] * 3, 1.0, seeds=[0, 1, 2])


@pytest.mark.parametrize("options", [{}, CONTINUOUS], ids=["loop", "continuous"])
def test_stop_strings_end_a_response_and_are_no_part_of_its_text(tmp_path, options):
    seen = []

    def reward(completions, completion_ids, **columns):
        seen.extend(zip(completions, completion_ids, strict=True))
        return [0.0] * len(completions)

    trainer = make_trainer(tmp_path, reward=reward, stop_strings=["a", "b c"], rollout_batch_size=128, **options)
    _, figures, *_ = trainer.rollouts.collect(0, 0.05, trainer.state)
    a, b, c = trainer.processing_class.convert_tokens_to_ids(["a", "b", "c"])
    stopped = [(text, ids) for text, ids in seen if ids[-1] == a or ids[-2:] == [b, c]]
    assert {ids[-1] for _, ids in stopped} == {a, c}
    assert not any("a" in text or "b c" in text for text, _ in seen)
    assert all(a not in ids[:-1] for _, ids in seen)
    ended = [ids[-1] in (1, a) or ids[-2:] == [b, c] for _, ids in seen]
    assert figures["val/num_eos_tokens"] == sum(ended) < len(seen)
    assert all(done or len(ids) == 6 for done, (_, ids) in zip(ended, seen, strict=True))


@pytest.mark.parametrize(
    "options,message",
    [
        ({"use_vllm": True}, "vLLM is not installed: pip install"),
        ({"use_vllm": True, "vllm_mode": "servr"}, "did you mean 'server'"),
        ({"use_vllm": True, "vllm_mode": "server"}, "set vllm_server_base_url"),
        ({"use_vllm": True, **CONTINUOUS}, "keep one"),
        ({"top_p": 0.0}, "top_p is 0.0: it must be above 0"),
        ({"top_k": -1}, "top_k is -1: it must be positive, or 0"),
    ],
    ids=str,
)
def test_options_that_cannot_be(tmp_path, options, message):
    with pytest.raises(HFDistillError, match=message):
        make_trainer(tmp_path, **options)


def test_continuous_batching_in_the_precision_of_training(tmp_path):
    trainer = make_trainer(tmp_path, bf16=True, policy=make_policy(initializer_range=0.2), **CONTINUOUS)
    prompts = trainer.rollouts.prompts.prompt_ids[:4]
    rows = trainer.rollouts.sampler.sample(prompts, 1.0, seeds=[0] * 4)
    differences = [
        abs(ours - theirs)
        for prompt, row in zip(prompts, rows, strict=True)
        for ours, theirs in zip(exact(trainer, prompt, row), row.log_probs, strict=True)
    ]
    assert 1e-4 < max(differences) < 0.1
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}


def allowed(scores, top_k, top_p):
    """What top-k, and top-p of the rest, let through, token by token as their papers say it."""
    kept, total = [], 0.0
    best = scores.argsort(descending=True)[: top_k or None].tolist()
    probabilities = scores[best].softmax(-1).tolist()
    for token, probability in zip(best, probabilities, strict=True):
        if total >= top_p:
            break
        kept.append(token)
        total += probability
    return kept


@pytest.mark.parametrize("back_end", [{}, CONTINUOUS], ids=["own loop", "continuous batching"])
@pytest.mark.parametrize("top_k,top_p", [(3, 1.0), (0, 0.6), (5, 0.8)])
def test_likely_tokens_alone_are_sampled_and_weighed_by_their_mass(tmp_path, back_end, top_k, top_p):
    options = {"top_k": top_k, "top_p": top_p, "temperature": 0.8, "num_ppo_epochs": 1, "num_mini_batches": 1}
    trainer = make_trainer(
        tmp_path, policy=make_policy(initializer_range=0.3), total_episodes=16, **options, **back_end
    )
    episodes, figures, *_ = trainer.rollouts.collect(0, 0.05, trainer.state)
    masses = []
    for row, (ids, start) in enumerate(zip(episodes.sequences, episodes.prompt_lengths, strict=True)):
        with torch.no_grad():
            scores = trainer.model.policy(torch.tensor([ids])).logits[0] / 0.8
        for t in range(start, len(ids)):
            kept = allowed(scores[t - 1], top_k, top_p)
            assert ids[t] in kept
            log_prob = scores[t - 1, kept].log_softmax(-1)[kept.index(ids[t])].item()
            assert episodes.sampling_log_probs[row, t - start].item() == pytest.approx(log_prob, abs=1e-4)
            masses.append(scores[t - 1].softmax(-1)[kept].sum().item())
    assert figures["sampling/importance_sampling_ratio/mean"] == pytest.approx(sum(masses) / len(masses), abs=1e-4)
    assert figures["sampling/importance_sampling_ratio/max"] <= 1 + 1e-4
    # What is trained is the policy over all tokens, and starts where it was.
    trainer.train()
    assert logged(trainer, "val/ratio") == pytest.approx([1.0], abs=1e-6)
    assert logged(trainer, "policy/approxkl_avg") == logged(trainer, "objective/kl") == [0.0]
