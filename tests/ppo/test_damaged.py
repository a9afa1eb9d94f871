"""A checkpoint of PPO that is not whole is passed over, and the training ends as it would have."""

import shutil
from pathlib import Path

import pytest
import torch
from ppo_toy import PROMPTS, assert_same_weights, logged, make_trainer, weights
from transformers import TrainerCallback

from hfdistill.errors import HFDistillError
from hfdistill.training.saving import damage, last_checkpoint


EXACT = {"atol": 0, "rtol": 0}


class StopAt(TrainerCallback):
    """Ends the training after this step as a kill does: nothing more is evaluated or saved."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_training_stop, control.should_save, control.should_evaluate = True, False, False


def always_half(completions, **columns):
    """Accuracies that are the same all the time: the start is the best."""
    return [True] * (len(completions) // 2) + [False] * (len(completions) - len(completions) // 2)


def run(folder, stop=None, evaluate=None, **kwargs):
    options = {"total_episodes": 32, "save_strategy": "steps", "save_steps": 2, **kwargs}
    if evaluate:
        options |= {"eval_strategy": "steps", "eval_steps": 2, "eval_on_start": True, "load_best_model_at_end": True}
    callbacks = [] if stop is None else [StopAt(stop)]
    chosen = {"eval_func": evaluate, "callbacks": callbacks}
    trainer = make_trainer(folder, evaluate=PROMPTS if evaluate else None, trainer_kwargs=chosen, **options)
    if stop is not None:
        trainer._finalize_training = lambda *args: None  # a kill publishes nothing
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    return trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return weights(run(tmp_path_factory.mktemp("whole")).model)


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory):
    """The folder of a run that was killed after step 7 of 8, with checkpoints 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("cut")
    run(folder, stop=7)
    return folder


FILES = ["model.safetensors", "value_model/model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"]
FILES += ["ppo_state.pt", "trainer_state.json", "config.json"]


@pytest.mark.parametrize("fault", ["half", "zeros", "gone"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_taken(tmp_path, cut_off, name, fault, caplog):
    shutil.copytree(cut_off, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "checkpoint-6" / name
    if fault == "gone":
        file.unlink()
    else:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if fault == "half" else bytes(len(content)))
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert f"checkpoint-6 is passed over: {name}" in caplog.text


def test_it_ends_as_if_nothing_had_happened(tmp_path, cut_off, whole):
    shutil.copytree(cut_off, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoint-6" / "optimizer.pt").unlink()
    resumed = run(tmp_path)
    assert resumed._initial_global_step == 4
    assert_same_weights(weights(resumed.model), whole, **EXACT)
    assert damage(tmp_path / "checkpoint-6") is None, "written again"


def test_nothing_usable_begins_anew(tmp_path, cut_off, caplog):
    shutil.copytree(cut_off, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.glob("*/scheduler.pt"):
        file.unlink()
    assert last_checkpoint(tmp_path) is None
    assert "the training begins anew" in caplog.text
    trainer = make_trainer(tmp_path)
    with pytest.raises(HFDistillError, match=r"checkpoint-2 cannot be gone on from: scheduler.pt is missing"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_true_is_the_last_whole_checkpoint(tmp_path, cut_off, whole):
    shutil.copytree(cut_off, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoint-6" / "ppo_state.pt").write_bytes(b"")
    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=2)
    trainer.train(resume_from_checkpoint=True)
    assert trainer._initial_global_step == 4
    assert_same_weights(weights(trainer.model), whole, **EXACT)


def test_a_moved_folder_chooses_its_best_again(tmp_path):
    run(tmp_path / "here", stop=3, evaluate=always_half)
    shutil.move(tmp_path / "here", tmp_path / "there")
    trainer = run(tmp_path / "there", evaluate=always_half)
    assert trainer.state.best_global_step == 0
    assert trainer.state.best_model_checkpoint == str(tmp_path / "there" / "checkpoint-0")
    start = make_trainer(tmp_path / "other").model.policy
    assert_same_weights(weights(trainer.model.policy), weights(start), **EXACT)


def test_a_lost_best_checkpoint_gives_way_to_the_next_best(tmp_path, caplog):
    run(tmp_path, stop=5, evaluate=always_half)
    shutil.rmtree(tmp_path / "checkpoint-0")
    trainer = run(tmp_path, evaluate=always_half)
    assert "checkpoint-0 was the best checkpoint, and" in caplog.text
    assert trainer.state.best_global_step == 2
    assert Path(trainer.state.best_model_checkpoint).name == "checkpoint-2"


def test_the_last_weights_never_go_under_the_best_ones_name(tmp_path):
    trainer = make_trainer(
        tmp_path,
        evaluate=PROMPTS,
        trainer_kwargs={"eval_func": always_half},
        save_strategy="steps",
        eval_strategy="steps",
        eval_steps=2,
        save_steps=2,
        eval_on_start=True,
        load_best_model_at_end=True,
    )
    trainer.add_callback(_Remove(tmp_path / "checkpoint-0"))
    with pytest.raises(HFDistillError, match=r"checkpoint-0 is the best checkpoint, and it is not there: start"):
        trainer.train()


class _Remove(TrainerCallback):
    def __init__(self, folder):
        self.folder = folder

    def on_step_end(self, args, state, control, **kwargs):
        shutil.rmtree(self.folder, ignore_errors=True)


def test_the_start_is_evaluated_once(tmp_path):
    options = {"evaluate": always_half, "early_stopping_patience": 3, "total_episodes": 16 * 30}
    undisturbed = run(tmp_path / "whole", **options)
    run(tmp_path / "cut", stop=1, **options)
    assert last_checkpoint(tmp_path / "cut").endswith("checkpoint-0")
    resumed = run(tmp_path / "cut", **options)
    assert undisturbed.state.global_step == resumed.state.global_step == 6
    assert [e["step"] for e in resumed.state.log_history if "eval_accuracy" in e] == [0, 2, 4, 6]


def test_save_only_model_says_what_it_costs(tmp_path, caplog):
    run(tmp_path, stop=3, save_only_model=True)
    assert "a training that is cut off begins anew" in caplog.text
    assert last_checkpoint(tmp_path) is None
    assert "holds no optimizer, as save_only_model leaves it" in caplog.text


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    """torch says it its own way."""

    def full(*args, **kwargs):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=2)
    trainer.add_callback(_Fill(monkeypatch, full))
    with pytest.raises(HFDistillError, match=r"checkpoint-4 cannot be written, \d+ MiB are free there"):
        trainer.train()
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-2"}
    monkeypatch.undo()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert logged(trainer, "loss")


class _Fill(TrainerCallback):
    def __init__(self, monkeypatch, full):
        self.monkeypatch, self.full = monkeypatch, full

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            self.monkeypatch.setattr(torch, "save", self.full)
