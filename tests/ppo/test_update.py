"""One update: what it must be, and what must not change it."""

import itertools
import json
import math

import pytest
import torch
from ppo_toy import (
    PROMPTS,
    assert_same_weights,
    copy_reward,
    logged,
    make_policy,
    make_tokenizer,
    make_trainer,
    make_value_model,
    weights,
)
from transformers import TrainerCallback

from hfdistill.llama import Passage
from hfdistill.ppo.actor_critic import ActorCritic
from hfdistill.reward.model import RewardScorer


EXACT = {"atol": 0, "rtol": 0}


PROMPTS_BY_IDS = {tuple(make_tokenizer()(row["prompt"])["input_ids"]): row["prompt"] for row in PROMPTS}


@pytest.mark.parametrize("backbone", ["separate", "shared"])
@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_the_ratio_of_the_first_step_is_exactly_1(tmp_path, backbone, kl_in):
    trainer = make_trainer(
        tmp_path, value_backbone=backbone, kl_in=kl_in, temperature=0.7, per_device_train_batch_size=3
    )
    trainer.train()
    assert logged(trainer, "policy/approxkl_avg")[0] == 0
    assert logged(trainer, "policy/clipfrac_avg")[0] == 0
    assert logged(trainer, "val/ratio")[0] == pytest.approx(1, abs=1e-6)
    assert logged(trainer, "val/ratio_var")[0] == pytest.approx(0, abs=1e-6)
    # The second update starts from the policy as it is then.
    assert logged(trainer, "policy/approxkl_avg")[4] == 0
    assert all(value > 0 for value in logged(trainer, "policy/approxkl_avg")[1:4])


def test_it_is_1_where_logits_are_computed_in_parts_and_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("hfdistill.llama.head.LOGITS_AT_ONCE", 100)
    monkeypatch.setattr("hfdistill.llama.head.LOGITS_KEPT", 200)
    trainer = make_trainer(tmp_path, temperature=0.7, per_device_train_batch_size=5)
    trainer.train()
    assert logged(trainer, "policy/approxkl_avg")[0] == logged(trainer, "objective/kl")[0] == 0
    assert all(value > 0 for value in logged(trainer, "policy/approxkl_avg")[1:4])


def test_the_update_against_float64(tmp_path):
    """Everything from scores to loss anew, by loops in float64, on a policy that has moved away from its samples."""
    trainer = make_trainer(tmp_path, learning_rate=3e-2, kl_coef=0.3, gamma=0.97, cliprange=0.1, cliprange_value=0.05)
    trainer.train()
    args, episodes, model = trainer.args, trainer.episodes, trainer.model
    kl_coef, rows = logged(trainer, "objective/kl_coef")[-1], [0, 3, 7, 8]
    reference = make_policy()
    responses = [ids[start:] for ids, start in zip(episodes.sequences, episodes.prompt_lengths, strict=True)]
    every = []
    for row, (ids, start) in enumerate(zip(episodes.sequences, episodes.prompt_lengths, strict=True)):
        length = len(ids) - start
        with torch.no_grad():
            theirs = torch.log_softmax(reference(torch.tensor([ids])).logits[0].double(), -1)
        log_probs = episodes.log_probs[row, :length].double().tolist()
        values = [*episodes.values[row, :length].double().tolist(), 0.0]
        rewards = [
            -kl_coef * (log_prob - theirs[start + t - 1, ids[start + t]].item())
            for t, log_prob in enumerate(log_probs)
        ]
        rewards[-1] += copy_reward([PROMPTS_BY_IDS[tuple(ids[:start])]], [trainer.encoder.decode(ids[start:])])[0]
        advantage, advantages = 0.0, [0.0] * length
        for t in reversed(range(length)):
            delta = rewards[t] + args.gamma * values[t + 1] - values[t]
            advantage = advantages[t] = delta + args.gamma * args.lam * advantage
        every.append(advantages)
    flat = [value for advantages in every for value in advantages]
    mean = sum(flat) / len(flat)
    deviation = (sum((value - mean) ** 2 for value in flat) / (len(flat) - 1)) ** 0.5
    loss = tokens = 0.0
    for row in rows:
        ids, start = episodes.sequences[row], episodes.prompt_lengths[row]
        with torch.no_grad():
            now = torch.log_softmax(model.policy(torch.tensor([ids])).logits[0].double(), -1)
            hidden = model.value_model.model(torch.tensor([ids])).last_hidden_state[0]
            values = model.value_model.score(hidden)[start - 1 : -1, 0].double().tolist()
        for t, advantage in enumerate(every[row]):
            old_value = episodes.values[row, t].item()
            ratio = math.exp(now[start + t - 1, responses[row][t]].item() - episodes.log_probs[row, t].item())
            scaled = (advantage - mean) / deviation
            policy = -min(ratio * scaled, min(max(ratio, 0.9), 1.1) * scaled)
            target = advantage + old_value
            clipped = old_value + min(max(values[t] - old_value, -0.05), 0.05)
            value = 0.5 * max((values[t] - target) ** 2, (clipped - target) ** 2)
            loss += policy + args.vf_coef * value
            tokens += 1
    ours = trainer._loss(model, rows, int(tokens), False)
    assert ours.item() == pytest.approx(loss / tokens, abs=1e-4)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_at_the_start_the_kl_is_0_and_the_reward_is_the_score(tmp_path, estimator):
    trainer = make_trainer(tmp_path, kl_estimator=estimator, kl_coef=10.0)
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert first["objective/rlhf_reward"] == pytest.approx(first["objective/scores"], abs=1e-4)
    assert first["objective/kl_coef"] == 10.0
    assert logged(trainer, "objective/kl")[1] != 0


def test_log_probs_are_those_of_the_distribution_sampled_from(tmp_path):
    trainer = make_trainer(tmp_path, temperature=0.5)
    episodes, *_ = trainer.rollouts.collect(0, 0.1, trainer.state)
    policy = trainer.model.policy
    for row, ids in enumerate(episodes.sequences):
        start = episodes.prompt_lengths[row]
        with torch.no_grad():
            exact = torch.log_softmax(policy(torch.tensor([ids])).logits[0].double() / 0.5, -1)
        expected = [exact[t - 1, ids[t]].item() for t in range(start, len(ids))]
        assert episodes.log_probs[row, : len(expected)].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_finished_episode_ends_in_eos_and_nothing_is_padding(tmp_path):
    trainer = make_trainer(tmp_path, rollout_batch_size=64)
    episodes, *_ = trainer.rollouts.collect(0, 0.1, trainer.state)
    ended = 0
    for ids, start in zip(episodes.sequences, episodes.prompt_lengths, strict=True):
        response = ids[start:]
        ended += response[-1] == 1
        assert 1 not in response[:-1]
        assert response[-1] == 1 or len(response) == 6
    assert 0 < ended < 64


@pytest.mark.parametrize(
    "change",
    [
        {"per_device_train_batch_size": 1},
        {"per_device_train_batch_size": 3},
        {"micro_batch_tokens": 20},
        {"generation_batch_size": 3},
    ],
    ids=str,
)
def test_how_the_work_is_cut_does_not_change_the_update(tmp_path, change):
    runs = []
    for options in ({}, change):
        trainer = make_trainer(tmp_path, total_episodes=16, **options)
        trainer.train()
        runs.append((weights(trainer.model), logged(trainer, "loss")))
    assert runs[0][1] == pytest.approx(runs[1][1], abs=1e-5)
    # Adam divides by the size of the gradient, so rounding of a tiny one is felt.
    assert_same_weights(runs[0][0], runs[1][0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("backbone", ["separate", "shared"])
def test_an_epoch_of_one_pass_goes_on_from_the_pass_that_scored(tmp_path, backbone):
    runs = []
    for reused in (True, False):
        trainer = make_trainer(tmp_path, num_mini_batches=1, value_backbone=backbone)
        passes = []
        trainer.model.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        if not reused:
            trainer.rollouts.collect = _forgetful(trainer.rollouts)
        trainer.train()
        runs.append(weights(trainer.model))
        # Two updates of two epochs, and a scoring pass each.
        assert len(passes) == (4 if reused else 6)
    assert_same_weights(*runs, **EXACT)


def _forgetful(rollouts):
    collect = rollouts.collect

    def collect_and_forget(*args):
        return collect(*args)._replace(first_pass=None)

    return collect_and_forget


def test_padding_side_of_the_tokenizer_has_no_say(tmp_path):
    runs = []
    for side in ("left", "right"):
        trainer = make_trainer(tmp_path)
        trainer.processing_class.padding_side = side
        trainer.train()
        runs.append(weights(trainer.model))
    assert_same_weights(*runs, **EXACT)


def test_generation_config_of_the_model_has_no_say(tmp_path):
    runs = []
    for options in ({}, {"temperature": 0.1, "top_k": 1, "top_p": 0.2, "max_new_tokens": 1}):
        policy = make_policy()
        policy.generation_config.update(do_sample=True, **options)
        trainer = make_trainer(tmp_path, policy=policy)
        trainer.train()
        runs.append(weights(trainer.model))
    assert_same_weights(*runs, **EXACT)


def test_each_prompt_of_an_update_is_answered_so_many_times(tmp_path):
    asked = []

    def reward(prompts, completions, **columns):
        asked.append((prompts, completions))
        return copy_reward(prompts, completions)

    make_trainer(tmp_path, reward=reward, num_generations=4, total_episodes=None, num_train_epochs=1).train()
    # Each prompt's turn comes once a pass over the dataset, which takes so many times the episodes.
    assert len(asked) == 4
    groups = [prompts[first : first + 4] for prompts, _ in asked for first in range(0, 16, 4)]
    assert all(len(set(group)) == 1 for group in groups)
    assert sorted(group[0] for group in groups) == sorted(row["prompt"] for row in PROMPTS)
    # Each response has noise of its own.
    assert len(set(asked[0][1][:4])) > 1


def test_dropout_is_off(tmp_path):
    runs = []
    for dropout in (0.0, 0.5):
        trainer = make_trainer(tmp_path, policy=make_policy(attention_dropout=dropout))
        trainer.train()
        runs.append(weights(trainer.model))
    assert_same_weights(*runs, **EXACT)


def test_gradient_checkpointing_changes_nothing(tmp_path):
    runs = []
    for options in ({}, {"activation_checkpointing": True}):
        trainer = make_trainer(tmp_path, **options)
        trainer.train()
        runs.append(weights(trainer.model))
    assert trainer.model.policy.is_activation_checkpointing
    # With it, the pass is the model's own, with sums in another order.
    assert_same_weights(*runs, atol=1e-4, rtol=0)


def test_the_value_warm_up_leaves_the_policy_alone(tmp_path):
    for backbone in ("separate", "shared"):
        trainer = make_trainer(tmp_path, value_backbone=backbone, value_warmup_updates=2, weight_decay=0.1)
        before = weights(trainer.model)
        trainer.train()
        after = weights(trainer.model)
        changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"value_model" if backbone == "separate" else "value_head"}
        # Nor has Adam any moments of it that later steps would act on.
        states = trainer.optimizer.state
        assert all(parameter not in states for parameter in trainer.model.policy.parameters())


def test_learning_rates_of_policy_and_value(tmp_path):
    trainer = make_trainer(tmp_path, learning_rate=1e-4, value_learning_rate=3e-3, weight_decay=0.1)
    value = set(map(id, trainer.model.value_parameters()))
    seen = set()
    for group in trainer.create_optimizer().param_groups:
        seen |= set(map(id, group["params"]))
        for parameter in group["params"]:
            assert group["lr"] == (3e-3 if id(parameter) in value else 1e-4)
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
        assert group["eps"] == 1e-5
    assert seen == set(map(id, trainer.model.parameters()))


def test_steps_without_finite_gradients_are_skipped_and_counted(tmp_path):
    trainer = make_trainer(tmp_path)
    loss = trainer._loss

    def sometimes_nan(*args):
        value = loss(*args)
        return value * float("nan") if trainer.state.global_step in (1, 4) else value

    trainer._loss = sometimes_nan
    seen = []
    step = trainer.training_step

    def note(*args):
        seen.append(weights(trainer.model))
        return step(*args)

    trainer.training_step = note
    trainer.train()
    seen.append(weights(trainer.model))
    moved = [any(not torch.equal(a[name], b[name]) for name in a) for a, b in itertools.pairwise(seen)]
    assert moved == [True, False, True, True, False, True, True, True]
    assert logged(trainer, "policy/skipped_steps") == [0, 1, 1, 1, 2, 2, 2, 2]
    assert all(torch.isfinite(value).all() for value in seen[-1].values())


def test_gradients_are_clipped(tmp_path):
    trainer = make_trainer(tmp_path, max_grad_norm=1e-3, vf_coef=100.0)
    norms = []
    trainer.add_callback(_Norms(trainer, norms))
    trainer.train()
    assert max(norms) == pytest.approx(1e-3, rel=1e-2)
    assert max(logged(trainer, "grad_norm")) > 1


class _Norms(TrainerCallback):
    def __init__(self, trainer, norms):
        self.trainer, self.norms = trainer, norms

    def on_pre_optimizer_step(self, *args, **kwargs):
        grads = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
        self.norms.append(torch.nn.utils.get_total_norm(grads).item())


def test_values_are_read_before_each_token():
    model = ActorCritic(make_policy(), make_value_model())
    ids = [[2, 4, 5, 6, 7, 1], [2, 4, 5, 8, 1]]
    with torch.no_grad():
        scored = model(Passage.of_responses(ids, [3, 2], 0, torch.device("cpu")))
        for row, (sequence, start) in enumerate(zip(ids, (3, 2), strict=True)):
            hidden = model.value_model.model(torch.tensor([sequence])).last_hidden_state[0]
            expected = model.value_model.score(hidden)[start - 1 : -1, 0].tolist()
            assert scored.values[row, : len(expected)].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_value_starts_from_the_reward_model(tmp_path):
    reward = make_value_model(seed=5)
    trainer = make_trainer(tmp_path, reward=reward)
    expected = weights(reward)
    assert_same_weights(weights(trainer.model.value_model), expected, **EXACT)
    trainer.train()
    assert_same_weights(weights(reward), expected, **EXACT)
    zeroed = make_trainer(tmp_path, reward=make_value_model(seed=5), value_head_init="zero")
    assert not zeroed.model.value_model.score.weight.any()


def test_without_a_reward_model_it_starts_from_the_policy(tmp_path):
    policy = make_policy()
    value_model = make_trainer(tmp_path, policy=policy).model.value_model
    assert_same_weights(weights(value_model.model), weights(policy.model), **EXACT)
    assert not value_model.score.weight.any()


def test_value_and_reward_heads_compute_in_float32(tmp_path):
    trainer = make_trainer(tmp_path, policy=make_policy().bfloat16(), reward=make_value_model().bfloat16())
    assert trainer.model.value_model.score.weight.dtype == torch.float32
    episodes, *_ = trainer.rollouts.collect(0, 0.1, trainer.state)
    assert episodes.log_probs.dtype == episodes.values.dtype == episodes.scores.dtype == torch.float32


@pytest.mark.parametrize("backbone", ["separate", "shared"])
def test_bf16_has_float32_heads_and_log_probs(tmp_path, backbone):
    trainer = make_trainer(tmp_path, bf16=True, value_backbone=backbone, reward=[make_value_model(), copy_reward])
    scored, logits = [], []
    forward = trainer.model.forward
    trainer.model.forward = lambda *args, **kwargs: scored.append(forward(*args, **kwargs)) or scored[-1]
    trainer.model.policy.lm_head.register_forward_hook(lambda module, args, output: logits.append(output.dtype))
    trainer.train()
    assert set(logits) == {torch.bfloat16}
    assert {row.log_probs.dtype for row in scored} == {row.values.dtype for row in scored} == {torch.float32}
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    # The first ratio is exactly 1 there, too.
    assert logged(trainer, "policy/approxkl_avg")[0] == 0
    assert all(map(math.isfinite, logged(trainer, "loss")))


def test_an_offloaded_reference_comes_to_score_and_leaves(tmp_path):
    runs = []
    for offload in (False, True):
        trainer = make_trainer(tmp_path, offload_ref_model=offload)
        reference, moves = trainer.rollouts.reference, []
        to = reference.to
        reference.to = lambda device, to=to, moves=moves: moves.append(torch.device(device)) or to(device)
        trainer.train()
        runs.append((logged(trainer, "objective/kl"), moves))
    assert runs[0][0] == runs[1][0]
    assert runs[0][1] == []
    # Where the accelerator is the CPU, that it moves is all that is seen.
    assert runs[1][1] == [trainer.accelerator.device, torch.device("cpu")] * 2


def test_a_reward_model_and_a_function_are_added_up(tmp_path):
    model = make_value_model(seed=5)
    trainer = make_trainer(tmp_path, reward=[model, copy_reward], reward_weights=[0.5, 2.0])
    episodes, figures, *_ = trainer.rollouts.collect(0, 0.0, trainer.state)
    for row, (ids, start) in enumerate(zip(episodes.sequences, episodes.prompt_lengths, strict=True)):
        score = RewardScorer(model, trainer.encoder).score_ids([ids]).item()
        copied = copy_reward([PROMPTS_BY_IDS[tuple(ids[:start])]], [trainer.encoder.decode(ids[start:])])[0]
        assert episodes.scores[row].item() == pytest.approx(0.5 * score + 2 * copied, abs=1e-4)
    assert {"rewards/LlamaForSequenceClassification", "rewards/copy_reward"} <= figures.keys()


def test_an_episode_cut_off_by_its_length_pays_the_penalty(tmp_path):
    scores = []
    for penalty in (None, 3.0):
        trainer = make_trainer(tmp_path, missing_eos_penalty=penalty)
        episodes, *_ = trainer.rollouts.collect(0, 0.0, trainer.state)
        scores.append(episodes.scores)
    cut_off = torch.tensor([float(ids[-1] != 1) for ids in episodes.sequences])
    assert 0 < cut_off.sum() < 16
    torch.testing.assert_close(scores[0] - scores[1], 3 * cut_off)


def test_whitened_rewards_have_unit_variance(tmp_path):
    trainer = make_trainer(tmp_path, whiten_rewards=True, lam=1.0)
    episodes, *_ = trainer.rollouts.collect(0, 0.0, trainer.state)
    following = torch.nn.functional.pad(episodes.returns[:, 1:], (0, 1))
    rewards = (episodes.returns - following)[episodes.mask]
    assert rewards.var().item() == pytest.approx(1, abs=1e-3)


def test_the_adaptive_coefficient_moves(tmp_path):
    trainer = make_trainer(tmp_path, total_episodes=64, kl_target=1e-3, kl_horizon=100)
    trainer.train()
    coefficients = logged(trainer, "objective/kl_coef")
    # The KL of the first update is 0, below the target; later ones are above.
    assert coefficients[1] < coefficients[0]
    assert coefficients[-1] > coefficients[1]


def test_episodes_are_the_same_for_the_same_seed(tmp_path):
    texts = []
    for seed in (3, 3, 4):
        trainer = make_trainer(tmp_path, seed=seed)
        torch.manual_seed(len(texts))
        texts.append(json.dumps(trainer.rollouts.collect(1, 0.1, trainer.state)[0].sequences))
    assert texts[0] == texts[1] != texts[2]


def test_a_dataset_of_one_question(tmp_path):
    trainer = make_trainer(tmp_path, train=PROMPTS[:1])
    trainer.train()
    assert trainer.state.global_step == 8


def test_metrics_have_the_classic_names(tmp_path):
    trainer = make_trainer(tmp_path, reward=[copy_reward, lambda completions, **_: [0.0] * len(completions)])
    trainer.train()
    log = trainer.state.log_history[-2]
    names = """eps objective/kl objective/entropy objective/non_score_reward objective/rlhf_reward objective/scores
    policy/approxkl_avg policy/clipfrac_avg loss/policy_avg loss/value_avg val/clipfrac_avg policy/entropy_avg
    val/ratio val/ratio_var val/num_eos_tokens lr episode
    val/explained_variance completions/mean_length tokens_per_second policy/skipped_steps"""
    assert set(names.split()) <= log.keys() | trainer.state.log_history[-5].keys()
    assert log["episode"] == 32
    # Where there was no rollout since the last log, there is no rate of it, rather than 0.
    assert len(logged(trainer, "tokens_per_second")) == 2 and min(logged(trainer, "tokens_per_second")) > 0


def test_tensorboard_shows_them(tmp_path):
    pytest.importorskip("tensorboard", reason="report_to: tensorboard needs it")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = make_trainer(tmp_path, report_to=["tensorboard"])
    trainer.train()
    events = EventAccumulator(str(next(tmp_path.rglob("events*")).parent)).Reload()
    shown = [event.value for event in events.Scalars("train/objective/scores")]
    assert shown == pytest.approx(logged(trainer, "objective/scores"))
