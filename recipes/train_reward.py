# /// script
# requires-python = ">=3.11"
# dependencies = ["hfdistill"]
#
# [tool.uv.sources]
# hfdistill = { path = ".." }
# ///
"""Learn the reward model from the student's own right and wrong answers (Eq. 3 to 6).

    accelerate launch recipes/train_reward.py --config recipes/configs/gsm8k/llama3-70b_to_1b.yaml
    accelerate launch --multi_gpu --num_processes 4 recipes/train_reward.py --config …
    accelerate launch recipes/train_reward.py --config … --warmup BASE --run.suffix=-without-data   # "Ours w/o D"
    accelerate launch recipes/train_reward.py --config … --base TEACHER             # a judge larger than the student

Reads:   {run}-labels and {run}-warmup (or what --labels and --warmup name).
Writes:  {run}-triples, the student's labelled responses and the triples; {run}-reward, the reward model with the best
         Pos/Neg accuracy on validation questions, or the last without validation.
In an open-ended task a judge labels the student's responses (reward.judge); what it said is in verdicts-*.sqlite.
What is finished is found and left alone. No response is sampled twice, and training goes on from its last checkpoint.
"""

import tempfile
import time
from pathlib import Path

from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.references import Artifact, open_artifact
from hfdistill.artifacts.store import Store
from hfdistill.config import Config, load_config
from hfdistill.errors import exit_on_user_error
from hfdistill.kinds import REWARD, TRIPLES
from hfdistill.labels.judges import open_judge
from hfdistill.labels.labeler import Labeler
from hfdistill.labels.questions import take_questions
from hfdistill.reward.config import RewardConfig
from hfdistill.tasks import Task, load_task
from hfdistill.training.saving import last_checkpoint, remove_checkpoints, save_trained


@exit_on_user_error
def main() -> None:
    config = load_config("reward", RewardConfig)
    stage = config.stage
    store = Store(config.run)

    # 1. Inputs, pinned to a commit each.
    parents = store.open_parents(TRIPLES, config, {"labels": ["questions/*", "responses/*"]})
    task = take_questions(load_task(config.task), parents["labels"].path)

    # 2. The student's responses and the triples.
    judge = open_judge("reward", config, task, parents["labels"].manifest) if task.open_ended else None
    triples = store.find(TRIPLES, fingerprint(TRIPLES, config, parents))
    if triples and stage.should_save:
        print(f"{triples.repo_id} is complete at {triples.revision[:12]}")
    triples = triples or make_triples(config, store, task, parents, judge)

    # 3. The reward model.
    parents = {"triples": triples, "warmup": parents["warmup"]}
    base = open_artifact(stage.base, "model") if stage.base else parents["warmup"]
    if base.digest != parents["warmup"].digest:
        parents["base"] = base
    key = fingerprint(REWARD, config, parents)
    # Each set of inputs has checkpoints of its own.
    stage.output_dir = str(Path(stage.output_dir) / key)
    if found := store.find(REWARD, key):
        if stage.should_save:
            print(f"{found.repo_id} is complete at {found.revision[:12]}")
            remove_checkpoints(stage.output_dir, config.run.keep_checkpoints)
        return
    train_reward(config, store, task, parents)


def make_triples(
    config: Config, store: Store, task: Task, parents: dict[str, Artifact], judge: Labeler | None
) -> Artifact:
    """Sample the student on every labelled question, label its answers, draw the triples, and publish both."""
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from transformers import AutoModelForCausalLM

    from hfdistill.generation import Sampling
    from hfdistill.reward.dataset import draw_triples, write_triples
    from hfdistill.reward.student import judge_samples, label_samples, sample_student
    from hfdistill.rows import has_label, known_questions, read_rows
    from hfdistill.student import load_encoder
    from hfdistill.training.shares import on_main_process

    stage, student, state = config.stage, config.student, PartialState()
    if state.is_main_process:
        store.prepare(TRIPLES, manifest(TRIPLES, config, parents))
    started = time.monotonic()
    warmup, dataset = parents["warmup"], parents["labels"].path
    asked = [row for row in read_rows(dataset, "questions") if has_label(row, task)]
    asked = [row for row in asked if row["split"] != "test"]  # which responses of one's own may be about
    questions = known_questions(asked, task)
    model = AutoModelForCausalLM.from_pretrained(
        warmup.path, dtype=student.dtype, attn_implementation=student.attn_implementation
    )
    identity, computing = config.identity(TRIPLES), {"bf16": True} if stage.bf16 else {}
    with torch.autocast(state.device.type, torch.bfloat16, enabled=stage.bf16):
        samples = sample_student(
            model.to(state.device),
            load_encoder(warmup.path, student),
            task,
            list(questions.values()),
            Sampling(stage.max_new_tokens, stage.temperature),
            samples=stage.samples,
            seed=config.run.seed,
            batch_size=stage.generation_batch_size,
            chunk_questions=stage.chunk_questions,
            journal=Path(stage.output_dir),
            identity={"model": warmup.digest, **{name: identity[name] for name in ("task", "student")}, **computing},
            shots=task.shots if stage.few_shot else 0,
        )
    place, name, judged = [None], Path(warmup.repo_id).name, []
    if judge is not None:
        asks = task, name, judge, config.teacher, Path(stage.output_dir)
        on_main_process(lambda: judged.extend(judge_samples(samples, questions, *asks)))
    if state.is_main_process:
        labels = {row["question_id"]: row["pseudo_label"] for row in asked}
        splits = {row["question_id"]: row["split"] for row in asked}
        rows = judged or label_samples(samples, questions, labels, task, name)
        by = "vote" if judge is None else "judge"
        triples, metrics = draw_triples(rows, read_rows(dataset, "responses"), splits, stage, config.run.seed, by)
        if judge is not None:
            metrics["judge"] = judge.figures()
        with tempfile.TemporaryDirectory() as folder:
            write_triples(Path(folder), rows, triples)
            made = manifest(TRIPLES, config, parents, metrics, {"seconds": round(time.monotonic() - started, 1)})
            published = store.publish(folder, TRIPLES, made)
        print(f"{published.repo_id} is published at {published.revision[:12]}")
        place[0] = f"{published.repo_id}@{published.revision}" if config.run.push else published.repo_id
    broadcast_object_list(place)
    return open_artifact(place[0], "dataset")


def train_reward(config: Config, store: Store, task: Task, parents: dict[str, Artifact]) -> None:
    """Train on the triples of training questions, choose by those of validation questions, and publish."""
    from hfdistill.reward.batches import encode_triples
    from hfdistill.reward.figures import card_figures
    from hfdistill.reward.heads import publish_heads
    from hfdistill.reward.held_out import held_out_figures
    from hfdistill.reward.model import check_base, initialise_reward_model
    from hfdistill.reward.plots import draw_all
    from hfdistill.reward.trainer import TripletTrainer
    from hfdistill.rows import known_questions, read_rows
    from hfdistill.student import load_encoder
    from hfdistill.training.adapters import SCALAR, add_adapter, lora_config
    from hfdistill.training.loading import TRAINED
    from hfdistill.training.progress import show_progress

    stage, student, warmup = config.stage, config.student, parents["warmup"].path
    if stage.should_save:
        store.prepare(REWARD, manifest(REWARD, config, parents))
    started = time.monotonic()
    encoder = load_encoder(warmup, student)
    start = parents.get("base", parents["warmup"])
    if "base" in parents:
        check_base(str(start.path), stage.base, str(warmup), encoder)
    triples = read_rows(parents["triples"].path, "triples")
    questions = known_questions(triples, task)
    prompt_ids = {question_id: encoder.question_ids(task, question) for question_id, question in questions.items()}
    model = initialise_reward_model(
        start.path,
        encoder.pad_token_id,
        stage.ensemble,
        dtype=TRAINED,
        attn_implementation=student.attn_implementation,
    )
    trainer = TripletTrainer(
        add_adapter(model, lora_config(config.peft), config.run.seed, SCALAR),
        stage,
        encode_triples([row for row in triples if row["split"] == "train"], prompt_ids, encoder),
        encode_triples([row for row in triples if row["split"] == "validation"], prompt_ids, encoder),
        encoder.tokenizer,
    )
    show_progress(trainer, "reward", ("loss", "eval_pos_neg", "eval_pos_pos"))
    trainer.train(resume_from_checkpoint=last_checkpoint(stage.output_dir))

    said, present = trainer.predict_heads(trainer.eval_dataset)
    validated = [triple.question_id for triple in trainer.eval_dataset]
    temperature, figures = card_figures(said, present, validated, calibrate=stage.calibrates)
    answers = read_rows(parents["triples"].path, "responses")
    held_out = held_out_figures(trainer, encoder, task, answers, temperature)
    with tempfile.TemporaryDirectory() as folder:
        save_trained(trainer, folder)
        if stage.should_save:
            publish_heads(Path(folder), temperature)
            scores = said.mean(-1) / temperature
            plots = draw_all(trainer.state.log_history, scores, present, Path(folder))
            metrics = {"triples": len(trainer.train_dataset)}
            if stage.load_best_model_at_end:
                metrics["best_step"] = trainer.state.best_global_step
            metrics |= {"validation": figures, "all_answers": held_out}
            cost = {"seconds": round(time.monotonic() - started, 1)}
            made = manifest(REWARD, config, parents, metrics, cost, encoder)
            published = store.publish(folder, REWARD, made, plots=plots)
            for name, figure in (("Pos/Neg", "pos_neg"), ("Pos/Pos", "pos_pos")):
                if figure in metrics["validation"]:
                    print(f"{name} {metrics['validation'][figure]['value']:.3f}")
            print(f"{published.repo_id} is published at {published.revision[:12]}")
            remove_checkpoints(stage.output_dir, config.run.keep_checkpoints)
    trainer.accelerator.wait_for_everyone()


if __name__ == "__main__":
    main()
