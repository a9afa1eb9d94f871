"""All five stages on a real student: SmolLM2-135M-Instruct in conversations and all of its weights, and in text behind
worked examples by LoRA. Word problems of one addition, which it gets right and wrong.
"""

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification, TrainerCallback

from hfdistill.artifacts.cards import split
from hfdistill.artifacts.references import open_artifact
from hfdistill.config import Config, load_config
from hfdistill.encoding import cut
from hfdistill.kinds import CHAIN, KINDS, POLICY, REWARD, TRIPLES
from hfdistill.ppo.stage import DistillPPOConfig
from hfdistill.reward.distilled import distilled_reward
from hfdistill.rows import read_rows
from hfdistill.runs.stages import ON_CPU, recipe_step
from hfdistill.servers.process import ServerProcess, free_port
from hfdistill.tasks import load_task
from hfdistill.training.saving import last_checkpoint

from .additions import TASK, write_questions


pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
TRAINING = {
    "use_cpu": True,
    "bf16": False,
    "per_device_train_batch_size": 8,
    "logging_steps": 1,
    "num_train_epochs": 1,
}
SETTINGS = {
    "label": {
        "high_temperatures": [0, 0.5],
        "high_samples": 3,
        "low_temperatures": [1.0],
        "low_samples": 1,
        "threshold": 0.4,
    },
    "warmup": {**TRAINING, "num_train_epochs": 3, "max_per_question": 2, "per_device_eval_batch_size": 16},
    "reward": {**TRAINING, "learning_rate": 2.0e-5, "samples": 6, "temperature": 1.0, "max_triples": 2},
    "ppo": {
        **{name: value for name, value in TRAINING.items() if name != "num_train_epochs"},
        "total_episodes": 16,
        "rollout_batch_size": 8,
        "num_ppo_epochs": 1,
        "eval_steps": 1,
        "save_steps": 1,
        "learning_rate": 1.0e-5,
    },
    "evaluate": {"batch_size": 16},
}
# How the models are asked, and what of the student is trained. The teacher sees worked examples, so that its answers
# are in a form that is read; the student learns that form from them.
RUNS = {
    "chat": {"teacher": {"chat": True, "shots": 2}, "warmup": {"learning_rate": 1e-4}},
    "few-shot": {
        "student": {"chat": False},
        "peft": {"r": 8},
        "warmup": {"learning_rate": 1e-3},
        "reward": {"few_shot": True},
        "ppo": {"few_shot": True},
        "evaluate": {"few_shot": ["ICL", "Ours"]},
    },
}


@dataclass
class Run:
    """A finished run: its configuration, and the folder of its artifacts."""

    config: Path
    artifacts: Path

    def stage(self, name: str = "ppo", settings: type = DistillPPOConfig) -> Config:
        return load_config(name, settings, ["--config", str(self.config)])

    def artifact(self, kind):
        return open_artifact(str(self.artifacts / f"real-{kind.name}"), kind.repo_type)


@pytest.fixture(scope="module")
def teacher(smollm2, tmp_path_factory) -> str:
    """An endpoint of the same model: one that takes hours to answer better would teach this test nothing."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    log = tmp_path_factory.mktemp("teacher") / "log"
    with ServerProcess(["serve", str(smollm2), *options], f"http://127.0.0.1:{port}", "/health", log):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module", params=RUNS)
def run(request, smollm2, teacher, tmp_path_factory) -> Run:
    folder, asked = tmp_path_factory.mktemp(request.param), RUNS[request.param]
    write_questions(folder / "questions")
    sections = {
        **SETTINGS,
        "run": {"name": "real", "push": False, "output_dir": str(folder)},
        "task": {**TASK, "path": str(folder / "questions")},
        "teacher": {"model": "smollm2", "endpoints": [teacher]},
        "student": {"model": str(smollm2)},
    }
    for name, settings in asked.items():
        sections[name] = {**sections.get(name, {}), **settings}
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    for stage in CHAIN:
        command = recipe_step(stage, ["--config", str(config)], ON_CPU).command
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, f"{stage}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        print(stage, done.stdout[-600:])
    return Run(config, folder / "artifacts")


def make_trainer(run: Run, folder: Path):
    """The trainer of recipes/train_ppo.py, on this run's artifacts."""
    spec = importlib.util.spec_from_file_location("train_ppo", ROOT / "recipes" / "train_ppo.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    config = run.stage()
    config.stage.output_dir = str(folder)
    parents = {name: run.artifact(KINDS[name]) for name in POLICY.parents}
    return recipe.make_trainer(config, load_task(config.task), parents)


def test_before_the_first_step_nothing_has_moved(run, tmp_path):
    trainer = make_trainer(run, tmp_path / "out")
    trainer.train()
    first = next(entry for entry in trainer.state.log_history if "objective/kl" in entry)
    assert first["objective/kl"] == pytest.approx(0, abs=1e-4)
    assert first["val/ratio"] == pytest.approx(1, abs=1e-4) and first["val/ratio_var"] == pytest.approx(0, abs=1e-4)
    # The scores of the episodes are those of the published reward model for the same ids, behind the bare prompt.
    judge = AutoModelForSequenceClassification.from_pretrained(run.artifact(REWARD).path, dtype="float32").eval()
    task = load_task(run.stage().task)
    rows = {tuple(row["prompt_ids"]): row for row in trainer.train_dataset}
    questions = {question.question_id: question for question in task.questions()}
    episodes, encoder, stops = trainer.episodes, trainer.encoder, trainer.args.stop_strings or ()
    for ids, length, score in zip(episodes.sequences, episodes.prompt_lengths, episodes.scores.tolist(), strict=True):
        row, response = rows[tuple(ids[:length])], ids[length:]
        question, text = questions[row["question_id"]], encoder.decode(response)
        answer = task.extract(cut(text, stops), question).value
        if not encoder.ended(response) and cut(text, stops) != text:
            response = encoder.finished_ids(response, cut(text, stops))
        with torch.no_grad():
            alone = judge(torch.tensor([encoder.question_ids(task, question) + response])).logits[0, 0].item()
        wanted = distilled_reward("", text, answer, row["pseudo_label"], alone, same=task.same)
        assert score == pytest.approx(wanted, abs=1e-4)


class Stop(TrainerCallback):
    """End a training behind its first step."""

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = True


def test_a_resumed_training_is_the_one_that_never_stopped(run, tmp_path):
    whole = make_trainer(run, tmp_path / "whole")
    whole.train()
    cut = make_trainer(run, tmp_path / "cut")
    cut.add_callback(Stop())
    cut.train()
    resumed = make_trainer(run, tmp_path / "cut")
    resumed.train(resume_from_checkpoint=last_checkpoint(tmp_path / "cut"))
    assert resumed.state.global_step == whole.state.global_step == 2
    wanted = dict(whole.model.named_parameters())
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.model.named_parameters())


def test_samples_are_learnt_as_the_ids_that_were_sampled(run):
    rows = read_rows(run.artifact(TRIPLES).path, "triples")
    assert rows and all(row["student_positive_token_ids"] and row["student_negative_token_ids"] for row in rows)


def test_the_code_on_the_card_answers_as_evaluation_did(run, tmp_path):
    policy = run.artifact(POLICY).path
    _, body = split((policy / "README.md").read_text(encoding="utf-8"))
    code = re.search(r"```python\n(.*?)```", body, re.DOTALL)[1]
    answers = read_rows(run.artifacts / "real-results", "responses", where={"row": "Ours"})
    task = load_task(run.stage().task)
    questions = {question.question_id: question for question in task.questions()}
    example = re.search(r"Q: Tom has 7 pens.*?now\?", code)[0]
    code = re.sub(r'from_pretrained\("[^"]*"\)', f'from_pretrained("{policy}")', code)
    imports, loading, asking = code.split("\n\n")
    # The same lines for each question, its response behind a mark.
    script = [imports, loading]
    for row in answers:
        bare = task.prompt(questions[row["question_id"]], shots=0).removesuffix("\nA:")
        script += ["print('=====')", asking.replace(example, bare.replace("'", "\\'"))]
    file = tmp_path / "card.py"
    file.write_text("\n".join(script), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("TRANSFORMERS_VERBOSITY", None)
    done = subprocess.run([sys.executable, file], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [text.removesuffix("\n") for text in done.stdout.split("=====\n")[1:]]
    assert said == [row["response"] for row in answers]
    assert "were not used" not in done.stderr and "newly initialized" not in done.stderr, done.stderr
