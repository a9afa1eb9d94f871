# /// script
# requires-python = ">=3.11"
# dependencies = ["hfdistill"]
#
# [tool.uv.sources]
# hfdistill = { path = ".." }
# ///
"""Refine the warmed-up student by another method than PPO, by TRL's own trainer, to compare with.

    accelerate launch recipes/train_baseline.py --config recipes/configs/gsm8k/llama3-70b_to_1b.yaml
    accelerate launch recipes/train_baseline.py --config … --method rloo --run.suffix=-rloo
    accelerate launch recipes/train_baseline.py --config … --method sft_equal_compute --run.suffix=-sft_equal_compute
    accelerate launch recipes/train_baseline.py --config … --method distillation --run.suffix=-distillation
    accelerate launch recipes/train_baseline.py --config … --method ttrl --run.suffix=-ttrl

Reads:   {run}-warmup, {run}-triples (D_S), {run}-labels (D_fail, validation labels), {run}-reward where a reward asks
         the model, and for distillation the teacher's weights (teacher.model).
Writes:  {run}-baseline, the checkpoint with the best greedy validation accuracy, or the last without validation and by
         ttrl.
A finished baseline with the same inputs and settings is found and left alone; one that was cut off goes on from its
last checkpoint.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.references import Artifact, open_artifact
from hfdistill.artifacts.store import Store
from hfdistill.baselines.config import BaselineConfig
from hfdistill.baselines.inputs import parent_roles
from hfdistill.config import Config, load_config
from hfdistill.errors import HFDistillError, exit_on_user_error
from hfdistill.kinds import BASELINE
from hfdistill.tasks import load_task
from hfdistill.training.saving import last_checkpoint, remove_checkpoints, save_trained


@exit_on_user_error
def main() -> None:
    config = load_config("baseline", BaselineConfig)
    stage = config.stage
    store = Store(config.run)

    # 1. Inputs, pinned to a commit each.
    parents = open_parents(config, store)
    key = fingerprint(BASELINE, config, parents)
    # Each set of inputs has checkpoints of its own.
    stage.output_dir = str(Path(stage.output_dir) / key)
    if found := store.find(BASELINE, key):
        if stage.should_save:
            print(f"{found.repo_id} is complete at {found.revision[:12]}")
            remove_checkpoints(stage.output_dir, config.run.keep_checkpoints)
        return

    from hfdistill.artifacts.figures import validation
    from hfdistill.baselines.figures import training_figures
    from hfdistill.plots import training_curves

    if stage.should_save:
        store.prepare(BASELINE, manifest(BASELINE, config, parents))

    # 2. Train; a killed run goes on from its last checkpoint.
    started = time.monotonic()
    trainer = make_trainer(config, parents)
    trainer.train(resume_from_checkpoint=last_checkpoint(stage.output_dir))

    # 3. Publish the chosen checkpoint with its learning curve.
    with tempfile.TemporaryDirectory() as folder:
        save_trained(trainer, folder)
        if stage.should_save:
            words = {"eval_accuracy": validation(config.asked)}
            training_curves(trainer.state.log_history, Path(folder) / "curves.png", words)
            metrics = training_figures(trainer, stage, len(trainer.validation.questions))
            metrics["questions"] = len(trainer.train_dataset)
            cost = {"seconds": round(time.monotonic() - started, 1)}
            made = manifest(BASELINE, config, parents, metrics, cost, trainer.validation.encoder)
            published = store.publish(folder, BASELINE, made, plots=["curves.png"])
            if "validation_accuracy" in metrics:
                names = ("validation_accuracy_before", "validation_accuracy")
                before, after = (metrics[name]["value"] for name in names)
                print(f"{validation(config.asked)}: {before:.3f} -> {after:.3f}")
            print(f"{published.repo_id} is published at {published.revision[:12]}")
            remove_checkpoints(stage.output_dir, config.run.keep_checkpoints)
    trainer.accelerator.wait_for_everyone()


def open_parents(config: Config, store: Store) -> dict[str, Artifact]:
    """What the method is made from, and nothing that it does not read."""
    stage = config.stage
    responses = ["responses/*"] if stage.method == "sft_equal_compute" else []
    golds = ["gold/*"] if stage.validation_labels == "gold" else []
    files = {"triples": ["responses/*"], "labels": ["questions/*", *responses, *golds]}
    parents = store.open_parents(replace(BASELINE, parents=parent_roles(stage)), config, files)
    if stage.method == "distillation":
        if config.teacher is None:
            raise HFDistillError(
                "baseline.method is distillation, which needs the teacher's weights, and the configuration has no "
                "section 'teacher': add `teacher: {model: namespace/name}`"
            )
        parents["teacher"] = open_artifact(config.teacher.model, "model")
    return parents


def make_trainer(config: Config, parents: dict[str, Artifact]):
    """Questions, model, rewards and trainer of the method."""
    from transformers import AutoModelForCausalLM

    from hfdistill.baselines.prompts import prompt_dataset
    from hfdistill.labels.questions import take_questions
    from hfdistill.labels.references import validation_references
    from hfdistill.ppo.inputs import room_for_prompts
    from hfdistill.ppo.questions import training_rows
    from hfdistill.reward.rewards import asks_vote
    from hfdistill.rows import known_questions, read_rows
    from hfdistill.student import load_encoder, settle_generation
    from hfdistill.tasks.base import no_final_answers
    from hfdistill.training.adapters import add_adapter, lora_config
    from hfdistill.training.loading import TRAINED
    from hfdistill.training.progress import show_progress
    from hfdistill.warmup.validation import Validation

    stage, student = config.stage, config.student
    task = take_questions(load_task(config.task), parents["labels"].path)
    if task.open_ended and (stage.method == "ttrl" or asks_vote(stage.rewards)):
        what = "method is ttrl" if stage.method == "ttrl" else "rewards hold vote"
        raise no_final_answers(f"baseline.{what}, which", task, "name another")
    encoder = load_encoder(parents["warmup"].path, student)
    labelled = read_rows(parents["labels"].path, "questions")
    golds = read_rows(parents["labels"].path, "gold") if stage.validation_labels == "gold" else None
    answers = validation_references(labelled, golds, stage.validation_questions)
    questions = known_questions([row for row in labelled if row["question_id"] in answers], task)
    validation = Validation(
        task, encoder, list(questions.values()), list(answers.values()), stage.per_device_eval_batch_size
    )
    if not answers and stage.eval_strategy != "no":
        raise HFDistillError(
            f"no validation question has a {stage.validation_labels} label: label more of them, or train without "
            "validation (--eval_strategy no)"
        )
    how = {"dtype": TRAINED, "attn_implementation": student.attn_implementation}
    model = AutoModelForCausalLM.from_pretrained(parents["warmup"].path, **how)
    settle_generation(model, encoder, task.max_new_tokens)
    room = room_for_prompts(model, stage)
    model = add_adapter(model, lora_config(config.peft), config.run.seed)
    given = stage, config.asked

    if stage.method == "sft_equal_compute":
        from hfdistill.baselines.imitation import equal_steps, imitation_examples, imitation_trainer

        dataset = parents["labels"].path
        examples = imitation_examples(parents["warmup"].manifest, dataset, labelled, task, encoder)
        responses = read_rows(parents["triples"].path, "responses", ["prompt_tokens", "completion_tokens"])
        steps = equal_steps(stage, responses, examples)
        trainer = imitation_trainer(model, *given, steps, examples, validation)
    else:
        if stage.method == "ttrl":
            from hfdistill.baselines.ttrl import questions_to_learn_on

            rows = questions_to_learn_on(task, encoder)
        else:
            failures = read_rows(parents["triples"].path, "responses", ["question_id", "label"])
            rows = training_rows(task, encoder, labelled, failures)
        prompts = prompt_dataset(rows, encoder, room)
        if stage.method == "distillation":
            from hfdistill.baselines.distillation import distillation_trainer, load_teacher

            teacher = load_teacher(parents["teacher"].path, config.teacher.model, encoder, **how)
            trainer = distillation_trainer(model, teacher, *given, prompts, validation, encoder)
        else:
            from hfdistill.baselines.groups import group_trainer

            rewards, weights = make_rewards(config, parents, task, encoder)
            trainer = group_trainer(model, *given, rewards, weights, prompts, validation, encoder)
    show_progress(trainer, "baseline", ("reward", "loss", "eval_accuracy"))
    return trainer


def make_rewards(config: Config, parents: dict[str, Artifact], task, encoder):
    """What groups are rewarded for, and how much each reward weighs."""
    from hfdistill.baselines.ttrl import SelfAgreement
    from hfdistill.reward.model import RewardScorer, load_reward_model
    from hfdistill.reward.rewards import load_rewards, read_entry

    stage, student = config.stage, config.student
    if stage.method == "ttrl":
        return [SelfAgreement().prepare(task)], [1.0]

    def scorer():
        how = {"dtype": student.dtype, "attn_implementation": student.attn_implementation}
        frozen = load_reward_model(str(parents["reward"].path), **how)
        return RewardScorer(frozen.to(stage.device).eval(), encoder, bf16=stage.bf16)

    return load_rewards(stage.rewards, task, scorer), [read_entry(entry)[1] for entry in stage.rewards]


if __name__ == "__main__":
    main()
