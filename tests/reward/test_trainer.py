import shutil
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from hfdistill.errors import HFDistillError
from hfdistill.reward.figures import with_intervals
from hfdistill.reward.model import initialise_reward_model
from hfdistill.reward.plots import draw_all
from hfdistill.reward.trainer import TripletTrainer
from hfdistill.training.saving import last_checkpoint, save_trained

from .conftest import PAD, draw_triples


TRAIN, VALIDATION = draw_triples(64, seed=1), draw_triples(40, seed=2)
NO_VALIDATION = {"eval_strategy": "no", "save_strategy": "no"}


def train(folder, args, tokenizer, train_dataset=TRAIN, validation=VALIDATION, resume=None, callbacks=None):
    trainer = TripletTrainer(
        initialise_reward_model(folder, PAD, args.ensemble), args, train_dataset, validation, tokenizer, callbacks
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_learns_what_can_be_told_apart(student_folder, tokenizer, make_args):
    args = make_args(num_train_epochs=6, save_strategy="no", load_best_model_at_end=False)
    trainer = train(student_folder, args, tokenizer)
    scores, present = trainer.predict_scores(VALIDATION)
    assert scores.shape == present.shape == (40, 4)
    right, wrong, taught, _ = scores.T
    assert (right > wrong).mean() > 0.95
    assert (taught > right).mean() > 0.9
    # Eq. 4 makes zero the border.
    assert (right > 0).mean() > 0.9
    assert (wrong < 0).mean() > 0.9
    logged = trainer.state.log_history
    assert next(entry["pos_neg"] for entry in reversed(logged) if "pos_neg" in entry) > 0.95, "on training triples"
    assert next(entry["eval_auc"] for entry in reversed(logged) if "eval_auc" in entry) > 0.95


def test_publishes_the_best_checkpoint(student_folder, tokenizer, make_args):
    trainer = train(student_folder, make_args(num_train_epochs=3, learning_rate=3e-4), tokenizer, draw_triples(32))
    figures = {entry["step"]: entry["eval_pos_neg"] for entry in trainer.state.log_history if "eval_pos_neg" in entry}
    assert figures[trainer.state.best_global_step] == max(figures.values())
    assert trainer.evaluate()["eval_pos_neg"] == max(figures.values())


@pytest.mark.parametrize(
    ("batch", "accumulation", "share_prefix"), [(8, 2, True), (4, 4, True), (16, 1, False), (5, 4, False)]
)
def test_micro_batches_do_not_change_the_update(
    student_folder, tokenizer, make_args, batch, accumulation, share_prefix
):
    """Triples with empty roles as well, for which a mean of means would be another update."""
    mixed = [*draw_triples(10, seed=3), *draw_triples(10, seed=4, teacher=False)] * 2
    settings = {**NO_VALIDATION, "num_train_epochs": 1, "logging_steps": 1, "optim": "sgd", "learning_rate": 0.1}
    settings |= {"max_grad_norm": 0.0, "every_token": 0.3, "ensemble": 2}
    window = batch * accumulation
    whole = train(student_folder, make_args(**settings, per_device_train_batch_size=window), tokenizer, mixed)
    parts = make_args(
        **settings,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        share_prefix=share_prefix,
    )
    split = train(student_folder, parts, tokenizer, mixed)
    assert split.state.global_step == whole.state.global_step
    assert losses(split) == pytest.approx(losses(whole), rel=1e-5)
    assert torch.allclose(weights(split), weights(whole), atol=1e-6)


class Killed(TrainerCallback):
    """Ends the training as a kill does: nothing after the step is saved or evaluated."""

    def __init__(self, step: int):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("killed_at", [11, 16])
def test_resume_equals_never_stopping(student_folder, tokenizer, make_args, tmp_path, killed_at):
    settings = {
        "num_train_epochs": 2.5,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": "steps",
        "save_steps": 4,
        "early_stopping_patience": 0,
        "gradient_accumulation_steps": 1,
        "warmup_steps": 3,
    }
    whole = train(student_folder, make_args(**settings, output_dir=str(tmp_path / "whole")), tokenizer)
    args = make_args(**settings, output_dir=str(tmp_path / "cut"))
    with pytest.raises(KeyboardInterrupt):
        train(student_folder, args, tokenizer, callbacks=[Killed(killed_at)])
    checkpoint = last_checkpoint(args.output_dir)
    assert checkpoint.endswith(f"checkpoint-{killed_at // 4 * 4}")
    resumed = train(student_folder, args, tokenizer, resume=checkpoint)
    assert losses(resumed) == losses(whole)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.state.best_global_step == whole.state.best_global_step


def test_a_checkpoint_cut_off_is_passed_over(student_folder, tokenizer, make_args):
    args = make_args(num_train_epochs=2, early_stopping_patience=0)
    train(student_folder, args, tokenizer)
    newest = last_checkpoint(args.output_dir)
    assert newest.endswith("checkpoint-16")
    state_of(newest).write_text('{"epoch": 2')
    older = last_checkpoint(args.output_dir)
    assert older != newest
    state_of(older).unlink()
    assert last_checkpoint(args.output_dir) is None
    shutil.rmtree(args.output_dir)
    assert last_checkpoint(args.output_dir) is None


def state_of(checkpoint: str) -> Path:
    return Path(checkpoint) / "trainer_state.json"


def test_early_stop_is_reached_again_after_a_kill(student_folder, tokenizer, make_args, tmp_path):
    """The evaluation that stops saves nothing, so a resumed run stops at the same step with the same model."""
    noise = draw_triples(64, seed=5)
    settings = {"num_train_epochs": 30, "early_stopping_patience": 2, "learning_rate": 1e-2}
    args = make_args(**settings)
    stopped = train(student_folder, args, tokenizer, noise, VALIDATION)
    assert stopped.state.global_step < 30 * 8
    again = train(student_folder, args, tokenizer, noise, VALIDATION, resume=last_checkpoint(args.output_dir))
    assert again.state.global_step == stopped.state.global_step
    assert again.state.best_global_step == stopped.state.best_global_step
    assert torch.equal(weights(again), weights(stopped))


def test_published_files_hold_no_pickle(student_folder, tokenizer, make_args, tmp_path):
    trainer = train(student_folder, make_args(**NO_VALIDATION, num_train_epochs=1), tokenizer)
    save_trained(trainer, tmp_path / "published")
    names = {path.name for path in (tmp_path / "published").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_what_cannot_be_trained_on(student_folder, tokenizer, make_args):
    with pytest.raises(HFDistillError, match="no triples to learn from"):
        train(student_folder, make_args(), tokenizer, [], VALIDATION)
    with pytest.raises(HFDistillError, match=r"no validation question gives a triple: .* \(--eval_strategy no\)"):
        train(student_folder, make_args(), tokenizer, TRAIN, [])
    long = [draw_triples(1)[0]]
    long[0].prompt.extend([20] * 200)
    with pytest.raises(HFDistillError, match="context 128"):
        train(student_folder, make_args(), tokenizer, long, VALIDATION)


def test_a_single_triple_trains_without_validation(student_folder, tokenizer, make_args, tmp_path):
    trainer = train(student_folder, make_args(**NO_VALIDATION, num_train_epochs=2), tokenizer, TRAIN[:1], [])
    assert trainer.state.global_step == 2
    scores, present = trainer.predict_scores([])
    assert with_intervals(scores, present, []) == {"calibration_error": 0}
    assert draw_all(trainer.state.log_history, scores, present, tmp_path) == ["curves.png"]


def test_settings_that_make_no_sense(make_args):
    with pytest.raises(HFDistillError, match=r"unknown value of reward.source: 'students', did you mean 'student'"):
        make_args(source="students")
    with pytest.raises(HFDistillError, match="match the student's responses, and reward.source is teacher"):
        make_args(source="teacher", balance=True)
    with pytest.raises(HFDistillError, match="needs reward.source: both"):
        make_args(source="student", teacher_per_pair=2.0)
    with pytest.raises(HFDistillError, match=r"reward.samples is 0"):
        make_args(samples=0)
    with pytest.raises(HFDistillError, match="at 0 all samples of a question are one"):
        make_args(temperature=0.0)
