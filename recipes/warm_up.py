# /// script
# requires-python = ">=3.11"
# dependencies = ["hfdistill"]
#
# [tool.uv.sources]
# hfdistill = { path = ".." }
# ///
"""Warm the student up: supervised fine-tuning on the teacher's responses that agree with the vote (Eq. 1 and 2).

    accelerate launch recipes/warm_up.py --config recipes/configs/gsm8k/llama3-70b_to_1b.yaml
    accelerate launch --multi_gpu --num_processes 4 recipes/warm_up.py --config … --learning_rate 1e-5
    accelerate launch recipes/warm_up.py --config … --data all --run.suffix=-sft      # the paper's row "SFT"

Reads:   {run}-labels (or what --labels names) and the base student (student.model).
Writes:  {run}-warmup, the checkpoint with the best greedy accuracy on validation questions (in an open-ended task with
         the largest likelihood of their good responses), or the last without validation.
A finished warm-up with the same inputs and settings is found and left alone; one that was cut off goes on from its
last checkpoint.
"""

import tempfile
import time
from pathlib import Path

from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.references import Artifact
from hfdistill.artifacts.store import Store
from hfdistill.config import Config, load_config
from hfdistill.errors import exit_on_user_error
from hfdistill.kinds import WARMUP
from hfdistill.tasks import Task, load_task
from hfdistill.training.saving import last_checkpoint, remove_checkpoints, save_trained, say
from hfdistill.warmup.config import WarmupConfig


@exit_on_user_error
def main() -> None:
    config = load_config("warmup", WarmupConfig)
    stage, task = config.stage, load_task(config.task)
    stage.settle_task(task)
    store = Store(config.run)

    # 1. Inputs, pinned to a commit each; gold answers only where validation asks for them.
    wanted = ["questions/*", "responses/*", *(["gold/*"] if stage.validation_labels == "gold" else [])]
    parents = store.open_parents(WARMUP, config, {"labels": wanted})
    key = fingerprint(WARMUP, config, parents)
    # Each set of inputs has checkpoints of its own.
    stage.output_dir = str(Path(stage.output_dir) / key)
    if found := store.find(WARMUP, key):
        if stage.should_save:
            print(f"{found.repo_id} is complete at {found.revision[:12]}")
            remove_checkpoints(stage.output_dir, config.run.keep_checkpoints)
        return

    from hfdistill.artifacts.figures import validation
    from hfdistill.intervals import interval
    from hfdistill.plots import training_curves
    from hfdistill.training.best_checkpoint import ACCURACY, LIKELIHOOD, published_figure

    if stage.should_save:
        store.prepare(WARMUP, manifest(WARMUP, config, parents))

    # 2. Train; a killed run goes on from its last checkpoint.
    started = time.monotonic()
    trainer, metrics = make_trainer(config, task, parents)
    trainer.train(resume_from_checkpoint=last_checkpoint(stage.output_dir))

    # 3. Publish the best checkpoint with its curves.
    with tempfile.TemporaryDirectory() as folder:
        save_trained(trainer, folder)
        if stage.should_save:
            shown = {"eval_likelihood": "likelihood of a token", "eval_accuracy": validation(config.asked)}
            training_curves(trainer.state.log_history, Path(folder) / "curves.png", shown)
            metrics["steps"] = step = trainer.state.global_step
            if stage.load_best_model_at_end:
                metrics["best_step"] = step = trainer.state.best_global_step
            if (likelihood := published_figure(trainer, LIKELIHOOD)) is not None:
                metrics["validation_likelihood"] = likelihood
                print(f"validation likelihood {likelihood:.3f} a token at step {step}")
            accuracy = published_figure(trainer, ACCURACY)
            if accuracy is not None:
                n = len(trainer.validation.questions)
                metrics["validation_accuracy"] = interval(round(accuracy * n), n)
                print(f"{validation(config.asked)}: {accuracy:.3f} at step {step}")
            cost = {"seconds": round(time.monotonic() - started, 1)}
            made = manifest(WARMUP, config, parents, metrics, cost, trainer.validation.encoder)
            published = store.publish(folder, WARMUP, made, plots=["curves.png"])
            print(f"{published.repo_id} is published at {published.revision[:12]}")
            remove_checkpoints(stage.output_dir, config.run.keep_checkpoints)
    trainer.accelerator.wait_for_everyone()


def make_trainer(config: Config, task: Task, parents: dict[str, Artifact]):
    """Examples (Eq. 1), validation questions, student and trainer; and figures about the examples."""
    from transformers import AutoModelForCausalLM

    from hfdistill.labels.questions import take_questions
    from hfdistill.labels.references import validation_references
    from hfdistill.rows import known_questions, read_rows, scan_rows
    from hfdistill.student import load_encoder, settle_generation
    from hfdistill.training.adapters import add_adapter, lora_config
    from hfdistill.training.loading import TRAINED
    from hfdistill.training.progress import show_progress
    from hfdistill.warmup.examples import encode_examples, select_responses
    from hfdistill.warmup.trainer import WarmupTrainer
    from hfdistill.warmup.validation import LikelihoodValidation, Validation

    stage, student, dataset = config.stage, config.student, parents["labels"].path
    asked = read_rows(dataset, "questions")
    questions = known_questions(asked, take_questions(task, dataset))
    encoder = load_encoder(parents["student"].path, student)

    def examples_of(question_ids: list[str], data: str):
        rows = select_responses(
            scan_rows(dataset, "responses", ["question_id", "response", "label", "finish_reason"]),
            question_ids,
            data=data,
            deduplicate=stage.deduplicate,
            max_per_question=stage.max_per_question,
            seed=config.run.seed,
        )
        prompt_ids = {question_id: encoder.question_ids(task, questions[question_id]) for question_id in question_ids}
        return rows, *encode_examples(rows, prompt_ids, encoder, stage.max_length)

    rows, examples, too_long = examples_of(
        [row["question_id"] for row in asked if row["split"] == "train"], stage.data
    )
    if too_long:
        say(f"{too_long} of {len(rows)} examples are longer than warmup.max_length {stage.max_length}, and left out")

    if task.open_ended:
        validated = [row["question_id"] for row in asked if row["split"] == "validation" and not row["failed"]]
        validated = validated[: stage.max_validation]
        held_out = examples_of(validated, "labelled")[1]
        validation = LikelihoodValidation(
            task, encoder, [questions[key] for key in validated] if len(held_out) else [], held_out
        )
    else:
        golds = read_rows(dataset, "gold") if stage.validation_labels == "gold" else None
        answers = validation_references(asked, golds, stage.max_validation)
        validation = Validation(
            task,
            encoder,
            [questions[question_id] for question_id in answers],
            list(answers.values()),
            stage.per_device_eval_batch_size,
        )

    model = AutoModelForCausalLM.from_pretrained(
        parents["student"].path,
        dtype=TRAINED,
        attn_implementation=student.attn_implementation,
    )
    settle_generation(model, encoder, task.max_new_tokens)
    model = add_adapter(model, lora_config(config.peft), config.run.seed)
    trainer = WarmupTrainer(model, stage, examples, validation)
    show_progress(trainer, "warmup", ("loss", "eval_accuracy", "eval_likelihood"))
    taught = len({row["question_id"] for row in rows})
    return trainer, {"examples": len(examples), "questions": taught, "examples_too_long": too_long}


if __name__ == "__main__":
    main()
