# /// script
# requires-python = ">=3.11"
# dependencies = ["hfdistill"]
#
# [tool.uv.sources]
# hfdistill = { path = ".." }
# ///
"""Refine the warmed-up student by PPO against the distilled reward (Eq. 7 and 8).

    accelerate launch recipes/train_ppo.py --config recipes/configs/gsm8k/llama3-70b_to_1b.yaml
    accelerate launch --multi_gpu --num_processes 2 recipes/train_ppo.py --config … --num_processes 2
    accelerate launch recipes/train_ppo.py --config … --warmup BASE --learning_rate 5e-5 --kl_coef 0.1   # "Ours w/o D"

Reads:   {run}-warmup, {run}-reward, {run}-triples (D_S) and {run}-labels (D_fail, validation labels).
Writes:  {run}-policy, the checkpoint with the best greedy validation accuracy (or by ppo.yardstick another figure), or
         the last without validation.
A finished policy with the same inputs and settings is found and left alone; one that was cut off goes on from its
last checkpoint.
"""

import tempfile
import time
from functools import cache
from pathlib import Path

from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.references import Artifact
from hfdistill.artifacts.store import Store
from hfdistill.config import Config, load_config
from hfdistill.errors import exit_on_user_error
from hfdistill.kinds import POLICY
from hfdistill.labels.questions import take_questions
from hfdistill.ppo.stage import DistillPPOConfig
from hfdistill.tasks import Task, load_task
from hfdistill.training.saving import last_checkpoint, remove_checkpoints, save_model


@exit_on_user_error
def main() -> None:
    config = load_config("ppo", DistillPPOConfig)
    stage = config.stage
    store = Store(config.run)
    task = load_task(config.task)
    stage.settle_task(task)
    config.asked["yardstick"] = stage.yardstick

    # 1. Inputs, pinned to a commit each.
    wanted = ["questions/*", *(["gold/*"] if stage.reads_golds else [])]
    parents = store.open_parents(POLICY, config, {"triples": ["responses/*"], "labels": wanted})
    take_questions(task, parents["labels"].path)
    key = fingerprint(POLICY, config, parents)
    # Each set of inputs has checkpoints of its own.
    stage.output_dir = str(Path(stage.output_dir) / key)
    main_process = stage.process_index == 0
    if found := store.find(POLICY, key):
        if main_process:
            print(f"{found.repo_id} is complete at {found.revision[:12]}")
            remove_checkpoints(stage.output_dir, config.run.keep_checkpoints)
        return

    from hfdistill.artifacts.figures import validation
    from hfdistill.ppo.compute import compute_figures, model_sizes
    from hfdistill.ppo.figures import training_figures
    from hfdistill.ppo.moving_labels import write_labels
    from hfdistill.ppo.plots import draw_diagnostics, draw_learning_curve
    from hfdistill.rows import read_rows

    if main_process:
        store.prepare(POLICY, manifest(POLICY, config, parents))

    # 2. Train; a killed run goes on from its last checkpoint.
    trainer = make_trainer(config, task, parents)
    sizes = model_sizes(trainer.model)
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=last_checkpoint(stage.output_dir))

    # 3. Publish the best checkpoint with its learning curve.
    policy = trainer.whole_policy()
    if main_process:
        with tempfile.TemporaryDirectory() as folder:
            save_model(policy, trainer.processing_class, folder)
            plots = ["learning_curve.png", "diagnostics.png"]
            history, per_update = trainer.state.log_history, (stage.steps_per_update, stage.rollout_batch_size)
            draw_learning_curve(history, *per_update, Path(folder) / plots[0], validation(config.asked))
            draw_diagnostics(history, *per_update, Path(folder) / plots[1])
            validated = {row["question_id"] for row in trainer.eval_dataset if row["pseudo_label"] is not None}
            metrics = training_figures(trainer.state, len(validated), stage)
            episodes, prompts = metrics["episodes"], trainer.rollouts.prompts.prompt_ids
            metrics |= compute_figures(sizes, trainer.state.log_history, prompts, episodes, stage.num_ppo_epochs)
            metrics["questions"] = len(trainer.train_dataset)
            if not task.open_ended:
                metrics["questions_without_label"] = sum(row["pseudo_label"] is None for row in trainer.train_dataset)
            if stage.validation_gold:
                asked = read_rows(parents["labels"].path, "questions", ["question_id", "pseudo_label"])
                labelled = {row["question_id"] for row in asked if row["pseudo_label"] is not None}
                metrics["validation_golds_bought"] = len(validated - labelled)
            if (moving := trainer.rollouts.moving_labels) is not None:
                metrics["moving_labels"] = moving.figures(trainer.rollouts.prompts)
                write_labels(Path(folder), moving.rows(trainer.rollouts.prompts))
            cost = {"seconds": round(time.monotonic() - started, 1)}
            made = manifest(POLICY, config, parents, metrics, cost, trainer.encoder)
            published = store.publish(folder, POLICY, made, plots=plots)
        if "validation_accuracy" in metrics:
            before, after = (metrics[name]["value"] for name in ("validation_accuracy_before", "validation_accuracy"))
            print(f"{validation(config.asked)}: {before:.3f} -> {after:.3f}")
        print(f"{published.repo_id} is published at {published.revision[:12]}")
        remove_checkpoints(stage.output_dir, config.run.keep_checkpoints)
    trainer.accelerator.wait_for_everyone()


def make_trainer(config: Config, task: Task, parents: dict[str, Artifact]):
    """Questions, models, reward and trainer."""
    from transformers import AutoModelForCausalLM

    from hfdistill.labels.references import read_golds, with_bought_golds
    from hfdistill.ppo import PPOTrainer
    from hfdistill.ppo.ballots import BallotReader
    from hfdistill.ppo.moving_labels import MovingLabels
    from hfdistill.ppo.questions import answers_match, training_rows, validation_rows
    from hfdistill.ppo.yardsticks import Yardsticks
    from hfdistill.reward.model import RewardScorer, load_reward_model
    from hfdistill.reward.rewards import load_rewards
    from hfdistill.rows import read_rows
    from hfdistill.student import load_encoder, settle_generation
    from hfdistill.training.adapters import lora_config
    from hfdistill.training.best_checkpoint import ACCURACY, REWARD_SCORE
    from hfdistill.training.loading import TRAINED
    from hfdistill.training.progress import show_progress

    stage, student = config.stage, config.student
    trained = {"dtype": TRAINED, "attn_implementation": student.attn_implementation}
    labelled = read_rows(
        parents["labels"].path, "questions", ["question_id", "question", "split", "pseudo_label", "failed"]
    )
    validated, golds = labelled, None
    if stage.validation_labels == "gold":
        golds = read_rows(parents["labels"].path, "gold")
    elif stage.validation_gold:
        known = read_golds(parents["labels"].path, "ppo.validation_gold")
        validated = with_bought_golds(labelled, known, stage.validation_gold, stage.seed)
    buyable = read_golds(parents["labels"].path, "ppo.gold_budget") if stage.gold_budget else None
    answers = read_rows(parents["triples"].path, "responses", ["question_id", "label"])
    encoder = load_encoder(parents["warmup"].path, student)
    if stage.few_shot:
        stage.stop_strings = stage.stop_strings or list(encoder.stop(task, task.shots))
    policy = AutoModelForCausalLM.from_pretrained(parents["warmup"].path, **trained)
    settle_generation(policy, encoder, task.max_new_tokens)
    reference = None
    if config.peft is None and stage.kl_in == "reward":
        # Read again, and not copied: its weights stay in the file, which all processes of a machine share.
        reference = AutoModelForCausalLM.from_pretrained(parents["warmup"].path, **trained)

    def reward_model(**kwargs):
        return load_reward_model(str(parents["reward"].path), **kwargs)

    @cache
    def scorer():
        frozen = reward_model(dtype=student.dtype, attn_implementation=student.attn_implementation)
        return RewardScorer(frozen.to(stage.device).eval(), encoder, bf16=stage.bf16)

    yardsticks = None
    if stage.yardsticks:
        reader = BallotReader(task, scorer() if REWARD_SCORE in stage.yardsticks else None)
        yardsticks = Yardsticks(stage.yardsticks, reader, stage.yardstick_samples)

    moving = None
    if stage.moving_labels != "none":
        moving = MovingLabels(
            BallotReader(task, scorer() if stage.label_weighting == "reward" else None),
            stage.moving_labels,
            every=stage.label_every,
            samples=stage.label_samples,
            threshold=stage.label_threshold,
            seed=stage.seed,
            golds=buyable,
            gold_budget=stage.gold_budget,
        )

    trainer = PPOTrainer(
        policy,
        load_rewards(stage.rewards, task, scorer, stage.few_shot),
        stage,
        training_rows(task, encoder, labelled, answers, stage.few_shot),
        validation_rows(
            task, encoder, validated, golds, stage.validation_questions, stage.few_shot, bool(stage.yardsticks)
        ),
        processing_class=encoder,
        value_model=reward_model(**trained) if stage.value_backbone == "separate" else None,
        peft_config=lora_config(config.peft),
        ref_model=reference,
        eval_func=answers_match(task),
        yardsticks=yardsticks,
        moving_labels=moving,
    )
    show_progress(trainer, "ppo", ("objective/scores", *(f"eval_{name}" for name in (ACCURACY, *stage.yardsticks))))
    return trainer


if __name__ == "__main__":
    main()
