"""TRL's trainers on the artifacts and rewards of a run."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerCallback

from hfdistill.reward.rewards import Reward

from .conftest import Run


def manifest(folder: Path) -> dict:
    return json.loads((folder / "hfdistill.json").read_text())


def test_grpo_learns_by_the_runs_reward_and_is_found_again(run, capsys, monkeypatch):
    asked = watch_rewards(monkeypatch)
    made = run.baseline("grpo", "--eval_strategy", "no", "--run.keep_checkpoints", "true")
    told = manifest(made)
    assert told["parents"].keys() == {"warmup", "reward", "triples", "labels"}
    metrics = told["metrics"]
    assert (metrics["episodes"], metrics["updates"], metrics["optimizer_steps"]) == (32, 2, 4)
    # Groups come whole, and the reward reads the very ids that were sampled.
    assert [len(call["question_id"]) for call in asked] == [16, 16]
    for call in asked:
        groups = [call["question_id"][first : first + 4] for first in range(0, 16, 4)]
        assert all(len(set(group)) == 1 for group in groups)
    prompts, sampled = count_tokens(run, asked)
    assert metrics["tokens_trained"] == metrics["tokens_sampled"] == prompts + sampled
    assert metrics["flops"] == 8 * metrics["parameters"] * (prompts + sampled)
    before, after = (load_file(folder / "model.safetensors") for folder in (run.folder / "artifacts/run-warmup", made))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    card = (made / "README.md").read_text()
    assert "refined by GRPO. Its reward: " in card and "no validation chose the checkpoint" in card
    capsys.readouterr()
    assert run.baseline("grpo", "--eval_strategy", "no") == made
    assert "is complete at" in capsys.readouterr().out
    assert len(asked) == 2


def test_rloo_publishes_what_validates_best(run):
    made = run.baseline("rloo", "--rewards", "vote")
    told = manifest(made)
    assert told["parents"].keys() == {"warmup", "triples", "labels"}  # the vote asks no model
    curve = told["metrics"]["curve"]
    assert [(point["step"], point["episodes"]) for point in curve] == [(0, 0), (2, 16), (4, 32)]
    assert curve[-1].keys() == {"step", "episodes", "accuracy", "score", "kl", "entropy", "mean_length"}
    best = max(curve, key=lambda point: (point["accuracy"], -point["step"]))
    assert told["metrics"]["best_step"] == best["step"]
    assert told["metrics"]["validation_accuracy"]["value"] == best["accuracy"]
    model = AutoModelForCausalLM.from_pretrained(made)
    assert model.generation_config.max_new_tokens == 48 and not model.generation_config.do_sample


def watch_rewards(monkeypatch) -> list[dict]:
    """What rewards that ask the model are called with from now on."""
    from hfdistill.reward.scored import OutcomeReward

    asked, call = [], OutcomeReward.__call__

    def watched(self: Reward, prompts: Iterable, completions: Iterable, completion_ids: Iterable, **columns):
        encoder = self.scorer.encoder
        assert [encoder.decode(ids) for ids in completion_ids] == list(completions)
        asked.append({"completion_ids": completion_ids, "question_id": columns["question_id"]})
        return call(self, prompts, completions, completion_ids, **columns)

    monkeypatch.setattr(OutcomeReward, "__call__", watched)
    return asked


def count_tokens(run: Run, asked: list[dict]) -> tuple[int, int]:
    """Tokens of prompts and responses in some calls of a reward."""
    from hfdistill.student import load_encoder
    from hfdistill.tasks import load_task

    encoder, task = load_encoder(run.folder / "base"), load_task(yaml.safe_load(run.config.read_text())["task"])
    questions = {question.question_id: question for question in task.questions()}
    prompts = sum(len(encoder.question_ids(task, questions[key])) for call in asked for key in call["question_id"])
    return prompts, sum(len(ids) for call in asked for ids in call["completion_ids"])


@pytest.mark.slow
def test_more_imitation_has_as_many_tokens_as_the_episodes(run):
    from hfdistill.rows import read_rows

    made = manifest(run.baseline("sft_equal_compute", "--total_episodes", "640", "--num_mini_batches", "1"))
    assert made["parents"].keys() == {"warmup", "triples", "labels"}
    rows = read_rows(run.folder / "artifacts/run-triples", "responses")
    an_episode = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows) / len(rows)
    assert made["metrics"]["tokens_trained"] == pytest.approx(640 * an_episode, rel=0.05)
    assert made["metrics"]["tokens_sampled"] == 0
    assert made["metrics"]["curve"][-1]["episodes"] == 640


@pytest.mark.slow
def test_distillation_and_test_time_training(run, capfd):
    distilled = manifest(run.baseline("distillation"))
    assert distilled["parents"].keys() == {"warmup", "triples", "labels", "teacher"}
    assert distilled["metrics"]["episodes"] == 32 and distilled["metrics"]["optimizer_steps"] == 4
    made = run.baseline("ttrl", "--rollout_batch_size", "8", "--total_episodes", "16")
    told = manifest(made)
    assert told["parents"].keys() == {"warmup", "labels"}
    assert told["metrics"]["questions"] == 4 and "best_step" not in told["metrics"]
    assert len(told["metrics"]["curve"]) == 3  # it is validated, and that chooses nothing
    assert "trained on the test questions" in (made / "README.md").read_text()


class Killed(TrainerCallback):
    """Ends the training as a kill does."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 5:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "rloo", "distillation", "sft_equal_compute"])
def test_a_killed_training_ends_as_one_that_was_not(run, method, monkeypatch):
    from hfdistill.training.resuming import ResumableTrainer

    flags = [
        "--total_episodes",
        "64",
        "--eval_steps",
        "0.25",
        "--save_steps",
        "0.25",
        "--load_best_model_at_end",
        "no",
    ]
    whole = run.baseline(method, *flags, suffix=f"-{method}-whole")
    start = ResumableTrainer.__init__

    def doomed(self, *args, **kwargs):
        start(self, *args, **kwargs)
        self.add_callback(Killed())

    with monkeypatch.context() as patched:
        patched.setattr(ResumableTrainer, "__init__", doomed)
        run.baseline(method, *flags, suffix=f"-{method}-cut", status=130)
    cut = run.baseline(method, *flags, suffix=f"-{method}-cut")
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert manifest(cut)["metrics"] == manifest(whole)["metrics"]
