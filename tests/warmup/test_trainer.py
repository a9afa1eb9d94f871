import copy
import math

import pytest
import torch
from transformers import TrainerCallback
from trl import SFTTrainer

from hfdistill.errors import HFDistillError
from hfdistill.tasks import load_task
from hfdistill.tasks.base import Question
from hfdistill.training.best_checkpoint import published_figure
from hfdistill.training.saving import last_checkpoint, save_trained
from hfdistill.warmup.examples import encode_examples
from hfdistill.warmup.trainer import WarmupTrainer
from hfdistill.warmup.validation import LikelihoodValidation, Validation

from ..reward.words import Words


# The answer is the question's first word: a student learns it within seconds.
TRAIN = [(f"t{i}", f"w{i % 9} w{20 + i % 5}") for i in range(64)]
QUESTIONS = [Question(f"v{i}", f"w{i % 9} w{20 + i % 5}", "validation") for i in range(20)]
ANSWERS = [question.question.split()[0] for question in QUESTIONS]


def examples(encoder):
    rows = [
        {"question_id": q, "response": f"answer {text.split()[0]}", "finish_reason": "eos_token"} for q, text in TRAIN
    ]
    dataset, _ = encode_examples(rows, {q: encoder.prompt_ids(text) for q, text in TRAIN}, encoder, None)
    return dataset


def make(student, args, encoder, questions=QUESTIONS, answers=ANSWERS, callbacks=None):
    validation = Validation(Words(max_new_tokens=6), encoder, questions, answers, 8)
    return WarmupTrainer(student, args, examples(encoder), validation, callbacks)


def test_learns_and_publishes_the_most_accurate_checkpoint(student, make_args, encoder, tmp_path):
    trainer = make(student, make_args(num_train_epochs=8), encoder)
    trainer.train()
    log = {entry["step"]: entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry}
    assert max(log.values()) == 1.0
    assert log[trainer.state.best_global_step] == 1.0
    # Validations without a gain end the training.
    assert trainer.state.global_step < 8 * 8
    assert trainer.validation.figures(trainer.model)["accuracy"] == 1.0
    assert trainer.model.training
    save_trained(trainer, tmp_path / "published")
    assert not list((tmp_path / "published").glob("*.bin"))


@pytest.mark.parametrize("best", [False, True])
def test_the_published_checkpoint_has_its_own_figure(student, make_args, encoder, best):
    """Chosen here for the shortest answers, which are wrong."""
    choice = {"load_best_model_at_end": best, "metric_for_best_model": "tokens", "greater_is_better": False}
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 4, "save_steps": 4, "max_steps": 48}
    args = make_args(**choice, **steps, early_stopping_patience=0)
    trainer = make(student, args, encoder)
    trainer.train()
    log = {entry["step"]: entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry}
    assert log[4] < log[48] == 1.0
    assert published_figure(trainer, "accuracy") == log[4 if best else 48]
    assert published_figure(trainer, "accuracy") == trainer.validation.figures(trainer.model)["accuracy"]
    trainer.args.load_best_model_at_end, trainer.state.global_step = False, 49  # ended between two validations
    assert published_figure(trainer, "accuracy") is None


def test_without_validation_the_last_checkpoint_is_published(student, make_args, encoder):
    trainer = make(student, make_args(eval_strategy="no"), encoder, [], [])
    trainer.train()
    assert trainer.state.global_step == 16 and trainer.state.best_global_step is None
    assert published_figure(trainer, "accuracy") is None


@pytest.mark.parametrize("at_once", [2**26, 1], ids=["few logits", "many logits"])
def test_loss_is_that_of_trl(student, make_args, encoder, monkeypatch, at_once):
    """Eq. 2 over the response tokens of the whole batch, in the fast path and in TRL's own."""
    monkeypatch.setattr("hfdistill.warmup.trainer.LOGITS_AT_ONCE", at_once)
    trainer = make(student, make_args(eval_strategy="no"), encoder)
    rows = [trainer.train_dataset[i] for i in (0, 3, 5)]
    rows[1] = {**rows[1], "input_ids": rows[1]["input_ids"] * 2, "labels": rows[1]["labels"] * 2}
    batch = trainer.data_collator(rows)
    student.train()
    for items in (None, torch.tensor(17)):
        ours = trainer.compute_loss(student, dict(batch), num_items_in_batch=items)
        theirs = SFTTrainer.compute_loss(trainer, student, dict(batch), num_items_in_batch=items)
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    logits = student(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.double().log_softmax(-1)
    total = [
        -logits[row, time - 1, label]
        for row, labels in enumerate(batch["labels"].tolist())
        for time, label in enumerate(labels)
        if label != -100
    ]
    assert trainer.compute_loss(student, dict(batch)).item() == pytest.approx(
        (sum(total) / len(total)).item(), rel=1e-5
    )


def test_passes_do_not_change_the_update(student, make_args, encoder, tmp_path):
    settings = {"eval_strategy": "no", "logging_steps": 1, "global_batch_size": 24, "optim": "sgd", "max_grad_norm": 0}
    runs = []
    for at_once in (24, 5):
        args = make_args(**settings, per_device_train_batch_size=at_once, output_dir=str(tmp_path / str(at_once)))
        runs.append(make(copy.deepcopy(student), args, encoder))
        runs[-1].train()
    whole, parts = runs
    assert parts.args.gradient_accumulation_steps == 6 and parts.state.global_step == whole.state.global_step == 6
    losses = [[entry["loss"] for entry in run.state.log_history if "loss" in entry] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, weight in whole.model.state_dict().items():
        assert torch.allclose(weight, parts.model.state_dict()[name], atol=1e-6), name


class Killed(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 11:
            raise KeyboardInterrupt


def test_resume_equals_never_stopping(student, make_args, encoder, tmp_path):
    settings = {"num_train_epochs": 2, "logging_steps": 1, "eval_strategy": "steps", "eval_steps": 4, "save_steps": 4}
    settings |= {"save_strategy": "steps", "early_stopping_patience": 0}
    whole = make(copy.deepcopy(student), make_args(**settings, output_dir=str(tmp_path / "whole")), encoder)
    whole.train()
    cut = make_args(**settings, output_dir=str(tmp_path / "cut"))
    with pytest.raises(KeyboardInterrupt):
        make(copy.deepcopy(student), cut, encoder, callbacks=[Killed()]).train()
    resumed = make(copy.deepcopy(student), cut, encoder)
    resumed.train(resume_from_checkpoint=last_checkpoint(cut.output_dir))
    assert [entry.get("loss") for entry in resumed.state.log_history if "loss" in entry] == [
        entry.get("loss") for entry in whole.state.log_history if "loss" in entry
    ]
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_validation_counts_no_answer_as_wrong(student, encoder):
    figures = Validation(Words(max_new_tokens=2), encoder, QUESTIONS, ANSWERS, 8).figures(student)
    assert set(figures) == {"accuracy", "no_answer", "tokens"}
    assert figures["accuracy"] + figures["no_answer"] <= 1
    assert figures["tokens"] <= 2


def test_what_cannot_be_trained_on(student, make_args, encoder):
    with pytest.raises(HFDistillError, match=r"no validation question has an answer .* \(--eval_strategy no\)"):
        make(student, make_args(), encoder, [], [])
    validation = Validation(Words(), encoder, QUESTIONS, ANSWERS, 8)
    nothing, _ = encode_examples([], {}, encoder, None)
    with pytest.raises(HFDistillError, match="no teacher response is left"):
        WarmupTrainer(student, make_args(), nothing, validation)


def test_an_open_ended_task_is_validated_by_likelihood(student, make_args, encoder):
    data = examples(encoder)
    held_out = LikelihoodValidation(load_task({"name": "generic", "answer": "open"}), encoder, QUESTIONS, data)
    args = make_args(num_train_epochs=2)
    args.settle_task(held_out.task)
    trainer = WarmupTrainer(student, args, data, held_out)
    before = held_out.figures(trainer.model)["likelihood"]
    student.eval()
    losses, tokens = [], 0
    for row in data:
        logits = student(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        scored = [(place, label) for place, label in enumerate(row["labels"][1:]) if label != -100]
        losses += [logits[place, label].item() for place, label in scored]
        tokens += len(scored)
    assert before == pytest.approx(math.exp(sum(losses) / tokens), rel=1e-5)
    trainer.train()
    assert before < published_figure(trainer, "likelihood") <= 1
    with pytest.raises(HFDistillError, match=r"warmup.validation_labels is 'gold', and task 'generic' is open-ended"):
        make_args(validation_labels="gold").settle_task(held_out.task)
