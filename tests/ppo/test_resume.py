"""Stopping and going on is the same as never stopping; early stop; best checkpoint."""

import pytest
import torch
from ppo_toy import PROMPTS, assert_same_weights, copy_reward, logged, make_policy, make_trainer, weights
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, TrainerCallback

from hfdistill.training.saving import last_checkpoint


EXACT = {"atol": 0, "rtol": 0}


class StopAt(TrainerCallback):
    """Ends the training as if it were killed after this step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


def same(prompts, completions, **columns):
    return [prompt == completion for prompt, completion in zip(prompts, completions, strict=True)]


def run(folder, stop=None, **kwargs):
    options = {
        "total_episodes": 48,
        "save_strategy": "steps",
        "save_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "kl_target": 0.01,
        "kl_horizon": 100,
        "value_learning_rate": 3e-3,
        "value_warmup_updates": 1,
        "lr_scheduler_type": "linear",
    }
    trainer = make_trainer(folder, evaluate=PROMPTS, trainer_kwargs={"eval_func": same}, **{**options, **kwargs})
    if stop is not None:
        trainer.add_callback(StopAt(stop))
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    return trainer


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


# 4 steps are an update: 5 and 6 lie within one, 8 between two; 2 lies in the value's warm-up.
@pytest.mark.parametrize("stop", [2, 5, 8])
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(tmp_path, uninterrupted, stop):
    run(tmp_path, stop=stop)
    torch.manual_seed(99)
    resumed = run(tmp_path)
    assert resumed.state.global_step == 12
    assert_same_weights(weights(resumed.model), weights(uninterrupted.model), **EXACT)
    for name in ("loss", "objective/scores", "objective/kl", "objective/kl_coef", "eval_accuracy", "lr", "grad_norm"):
        assert logged(resumed, name) == logged(uninterrupted, name), name
    ours, theirs = (trainer.optimizer.state_dict()["state"] for trainer in (resumed, uninterrupted))
    for key, state in theirs.items():
        for name, value in state.items():
            assert torch.equal(ours[key][name], value)


def test_it_resumes_with_a_shared_backbone_too(tmp_path):
    whole = run(tmp_path / "whole", value_backbone="shared")
    run(tmp_path / "cut", value_backbone="shared", stop=6)
    resumed = run(tmp_path / "cut", value_backbone="shared")
    assert_same_weights(weights(resumed.model), weights(whole.model), **EXACT)


def test_a_checkpoint_is_a_model_that_others_load(tmp_path):
    trainer = run(tmp_path, stop=4)
    checkpoint = last_checkpoint(tmp_path)
    assert_same_weights(
        weights(AutoModelForCausalLM.from_pretrained(checkpoint)), weights(trainer.model.policy), **EXACT
    )
    value_model = AutoModelForSequenceClassification.from_pretrained(f"{checkpoint}/value_model")
    assert_same_weights(weights(value_model), weights(trainer.model.value_model), **EXACT)


def scripted(accuracies):
    """An eval_func whose accuracies, one an evaluation, are known beforehand."""
    left = iter(accuracies)

    def judge(completions, **columns):
        right = round(next(left) * len(completions))
        return [True] * right + [False] * (len(completions) - right)

    return judge


def best_of(folder, accuracies, **kwargs):
    trainer = make_trainer(
        folder,
        evaluate=PROMPTS,
        trainer_kwargs={"eval_func": scripted(accuracies)},
        total_episodes=96,
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        eval_on_start=True,
        load_best_model_at_end=True,
        **kwargs,
    )
    seen = {0: weights(trainer.model.policy)}
    trainer.add_callback(_Record(trainer, seen))
    trainer.train()
    return trainer, seen


class _Record(TrainerCallback):
    def __init__(self, trainer, seen):
        self.trainer, self.seen = trainer, seen

    def on_step_end(self, args, state, control, **kwargs):
        self.seen[state.global_step] = weights(self.trainer.model.policy)


def test_the_best_checkpoint_is_what_remains(tmp_path):
    trainer, seen = best_of(tmp_path, [0.25, 0.5, 0.75, 0.5, 0.5, *[0.25] * 8])
    assert trainer.state.best_metric == 0.75
    assert_same_weights(weights(trainer.model.policy), seen[4], **EXACT)


def test_the_start_may_be_the_best(tmp_path):
    trainer, seen = best_of(tmp_path, [0.75] * 13, save_total_limit=1)
    assert_same_weights(weights(trainer.model.policy), seen[0], **EXACT)


def test_training_stops_when_nothing_improves(tmp_path):
    trainer, seen = best_of(tmp_path, [0.25, 0.5, 0.5, 0.5, 0.5, 1.0], early_stopping_patience=3)
    assert trainer.state.global_step == 8
    assert_same_weights(weights(trainer.model.policy), seen[2], **EXACT)


def test_validation_is_greedy_and_complete(tmp_path):
    policy = make_policy()
    asked = []

    def judge(prompts, completions, **columns):
        asked.append((prompts, completions))
        return [True] * len(prompts)

    trainer = make_trainer(tmp_path, policy=policy, evaluate=PROMPTS, trainer_kwargs={"eval_func": judge})
    metrics = trainer.evaluate()
    assert metrics["eval_accuracy"] == 1.0
    assert trainer.evaluate().keys() >= {"eval_mean_length", "eval_finished"}
    assert asked[0] == asked[1]
    assert asked[0][0] == [row["prompt"] for row in PROMPTS]
    ids = trainer.processing_class(PROMPTS[3]["prompt"])["input_ids"]
    for _ in range(6):
        token = policy(torch.tensor([ids])).logits[0, -1].argmax().item()
        if token == 1:
            break
        ids.append(token)
    assert asked[0][1][3] == trainer.encoder.decode(ids[2:])


def test_without_an_eval_func_it_is_the_mean_score(tmp_path):
    trainer = make_trainer(tmp_path, reward=lambda completions, **_: [2.0] * len(completions), evaluate=PROMPTS)
    assert trainer.evaluate()["eval_reward"] == 2.0


def test_a_sampled_answer_is_printed(tmp_path, capsys):
    run(tmp_path, stop=2, reward=copy_reward)
    assert "sampled, score" in capsys.readouterr().out
