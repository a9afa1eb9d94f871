"""The recipes of warm-up and reward model on folders: what they write, and that kills and golds leave no trace."""

import hashlib
import importlib.util
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM

from hfdistill.artifacts.store import Store
from hfdistill.kinds import REWARD, WARMUP
from hfdistill.labels.dataset import labelled_dataset, write_dataset
from hfdistill.ppo.value_model import build_value_model
from hfdistill.reward.model import load_reward_model
from hfdistill.rows import ROLES, read_rows
from hfdistill.tasks import load_task
from hfdistill.tasks.word_problems import problems, solution


ROOT = Path(__file__).parents[2]
TASK = {"name": "word_problems", "train": 40, "validation": 24, "test": 4, "max_new_tokens": 48}


def make_base(folder: Path, **sizes: int) -> None:
    from hfdistill.demo.models import tokenizer

    words = tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        **{"vocab_size": len(words), "hidden_size": 32, **sizes},
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=128,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)


def make_teacher(folder: Path, noise: bool) -> None:
    """A teacher that is right four times in five; with `noise`, every gold answer is another number."""
    task = load_task(TASK)
    asked = [question for question in task.questions() if question.split != "test"]
    drawn = {
        f"{split}-0-{index:06d}": problem
        for split in ("train", "validation")
        for index, problem in enumerate(itertools.islice(problems(0, split), TASK[split]))
    }
    rng = random.Random(0)
    rows = []
    for question in asked:
        problem = drawn[question.question_id]
        for temperature in (0.0, 0.1, 0.2, 0.3, 0.4, 0.7, 1.0):
            text = solution(problem.start, problem.changes, hasty=rng.random() < 0.3)
            if rng.random() < 0.2:
                text = text.replace(f"answer is {problem.answer}.", f"answer is {problem.answer + 1}.")
            rows.append(
                {
                    "question_id": question.question_id,
                    "response": text,
                    "temperature": temperature,
                    "sample": 0,
                    "confidence": "high" if temperature < 0.35 else "low",
                    "finish_reason": "eos_token",
                }
            )
    golds = {question: str(int(gold) + 50 * noise) for question, gold in task.golds().items()}
    responses, questions = labelled_dataset(asked, rows, task)
    write_dataset(folder, responses, questions, golds)


def make_run(folder: Path, noise: bool = False) -> Path:
    make_base(folder / "base")
    make_teacher(folder / "artifacts" / "run-labels", noise)
    config = {
        "run": {"name": "run", "push": False, "output_dir": str(folder)},
        "task": TASK,
        "teacher": {"model": "teacher"},
        "student": {"model": str(folder / "base")},
        "warmup": {
            "num_train_epochs": 20,
            "learning_rate": 1e-2,
            "eval_strategy": "steps",
            "eval_steps": 40,
            "save_strategy": "steps",
            "save_steps": 40,
            "bf16": False,
            "use_cpu": True,
            "early_stopping_patience": 0,
        },
        "reward": {
            "samples": 12,
            "max_triples": 4,
            "num_train_epochs": 3,
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-3,
            "bf16": False,
            "use_cpu": True,
            "chunk_questions": 16,
            "early_stopping_patience": 0,
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


def recipe(name: str, config: Path, monkeypatch, *flags: str) -> int:
    """Run a recipe in this process and return its exit status."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "recipes" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--config", str(config), *flags])
    with pytest.raises(SystemExit) as ended:
        module.main()
    return ended.value.code


def digests(run: Path) -> dict[str, str]:
    """Content of what the stages made, manifests, cards and plots apart: those name the parents."""
    files = sorted(
        path for kind in ("warmup", "triples", "reward") for path in (run / f"artifacts/run-{kind}").rglob("*")
    )
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.suffix in (".safetensors", ".parquet")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of both recipes that nothing disturbs."""
    run = tmp_path_factory.mktemp("whole")
    config = make_run(run)
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert recipe("warm_up", config, monkeypatch) == 0
        assert recipe("train_reward", config, monkeypatch) == 0
    return run


def test_artifacts_are_complete(whole):
    warmup, dataset, reward = (whole / "artifacts" / f"run-{kind}" for kind in ("warmup", "triples", "reward"))
    assert AutoModelForCausalLM.from_pretrained(warmup).config.pad_token_id == 0
    assert AutoModelForSequenceClassification.from_pretrained(reward).config.num_labels == 1
    for folder in (warmup, dataset, reward):
        manifest = json.loads((folder / "hfdistill.json").read_text())
        assert manifest["parents"] and manifest["metrics"] and manifest["cost"]["seconds"] > 0
        assert (folder / "README.md").read_text().startswith("---")
        assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    assert {path.name for path in reward.glob("*.png")} == {"curves.png", "scores.png", "calibration.png"}
    responses, triples = read_rows(dataset, "responses"), read_rows(dataset, "triples")
    labelled = [row for row in read_rows(whole / "artifacts/run-labels", "questions") if row["pseudo_label"]]
    assert len(responses) == 12 * len(labelled)
    by_id = {f"student/{r['question_id']}/0.7/{r['sample']}": r for r in responses}
    for triple in triples:
        assert by_id[triple["student_positive_id"]]["label"] == "correct"
        assert by_id[triple["student_negative_id"]]["label"] == "incorrect"
        assert by_id[triple["student_negative_id"]]["response"] == triple["student_negative"]
    assert {triple["split"] for triple in triples} == {"train", "validation"}
    assert not list(whole.glob("*/*/checkpoint-*")), "removed when they were published"


def test_what_is_finished_is_left_alone(whole, monkeypatch, capsys):
    before = digests(whole)
    for name, kinds in (("warm_up", ["warmup"]), ("train_reward", ["triples", "reward"])):
        assert recipe(name, whole / "config.yaml", monkeypatch) == 0
        out = capsys.readouterr().out
        assert all(f"run-{kind} is complete" in out for kind in kinds)
        assert "progress" not in out
    assert digests(whole) == before


def test_noise_for_golds_leaves_no_trace(whole, tmp_path, monkeypatch):
    config = make_run(tmp_path, noise=True)
    assert read_rows(tmp_path / "artifacts/run-labels", "gold") != read_rows(whole / "artifacts/run-labels", "gold")
    assert recipe("warm_up", config, monkeypatch) == 0
    assert recipe("train_reward", config, monkeypatch) == 0
    assert digests(tmp_path) == digests(whole)


def test_interrupted_training_ends_with_the_same_models(whole, tmp_path, monkeypatch, capsys):
    config = make_run(tmp_path)
    on_step_end, publish = "hfdistill.training.progress.ProgressCallback.on_step_end", Store.publish
    for name, kind, steps in (("warm_up", WARMUP, 45), ("train_reward", REWARD, 9)):

        def published_and_killed(store, folder, published, *args, kind=kind, **kwargs):
            made = publish(store, folder, published, *args, **kwargs)
            if published == kind:
                raise KeyboardInterrupt
            return made

        with pytest.MonkeyPatch.context() as interrupted:
            interrupted.setattr(on_step_end, interrupt_after(steps))
            assert recipe(name, config, interrupted) == 130
        with pytest.MonkeyPatch.context() as interrupted:
            interrupted.setattr(Store, "publish", published_and_killed)
            assert recipe(name, config, interrupted) == 130
        # Checkpoints stay until it is published, and leave no other way.
        left = f"{kind.name}/*/checkpoint-*"
        assert list(tmp_path.glob(left))
        assert recipe(name, config, monkeypatch, "--run.keep_checkpoints", "true") == 0
        assert list(tmp_path.glob(left)) and "removed" not in capsys.readouterr().out
        assert recipe(name, config, monkeypatch) == 0
        assert not list(tmp_path.glob(left)) and " MB of checkpoints in " in capsys.readouterr().out
    assert digests(tmp_path) == digests(whole)


def interrupt_after(steps: int):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == steps:
            raise KeyboardInterrupt

    return on_step_end


def test_parents_and_suffix_are_flags(whole, tmp_path, monkeypatch):
    """The base student as warm-up, under names of its own."""
    base = str(whole / "base")
    flags = ["--warmup", base, "--run.suffix=-without-data", "--samples", "2", "--chunk_questions", "64"]
    # An untrained student is never right: one sentence says so, after its responses were published.
    assert recipe("train_reward", whole / "config.yaml", monkeypatch, *flags) == 2
    manifest = json.loads((whole / "artifacts/run-triples-without-data/hfdistill.json").read_text())
    assert "/base@" in manifest["parents"]["warmup"]


def test_a_judge_larger_than_the_student(whole, tmp_path, monkeypatch, capsys):
    """It learns from the same triples, and PPO's value model can start from it; another vocabulary is refused."""
    make_base(tmp_path / "large", hidden_size=64)
    flags = ["--base", str(tmp_path / "large"), "--output_dir", str(whole / "reward"), "--run.suffix=-large"]
    flags += ["--ensemble", "2"]
    assert recipe("train_reward", whole / "config.yaml", monkeypatch, *flags, "--num_train_epochs", "1") == 0
    place = whole / "artifacts/run-reward-large"
    model = load_reward_model(str(place))
    assert model.config.hidden_size == 64 and model.ensemble.shape == (2, 64)
    made = json.loads((place / "hfdistill.json").read_text())
    assert made["metrics"]["validation"].keys() >= {"temperature", "calibration_error_before", "spread_of_wrong"}
    assert made["metrics"]["all_answers"]["responses"] > 0
    parents = made["parents"]
    assert parents.keys() == {"triples", "warmup", "base"} and "/large@" in parents["base"]
    assert "started from the model in the row `base`" in (place / "README.md").read_text()
    policy = AutoModelForCausalLM.from_pretrained(whole / "artifacts/run-warmup")
    assert build_value_model(policy, model, "copy", 0).config.hidden_size == 64

    make_base(tmp_path / "other", vocab_size=50)
    flags[1] = str(tmp_path / "other")
    assert recipe("train_reward", whole / "config.yaml", monkeypatch, *flags) == 2
    assert "has another vocabulary than the student (50 and " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "roles"),
    [
        (["--source", "teacher"], {"teacher_positive", "teacher_negative"}),
        (["--source", "student"], {"student_positive", "student_negative"}),
        (["--teacher_per_pair", "0.5", "--classification_weight", "0.1"], set(ROLES[:3])),
    ],
    ids=["teacher", "student", "half"],
)
def test_ablations(whole, monkeypatch, flags, roles):
    """They change what is learnt from, not what is validated on."""
    suffix = "-".join(flags).strip("-")
    shared = ["--output_dir", str(whole / "reward"), "--num_train_epochs", "1"]
    assert recipe("train_reward", whole / "config.yaml", monkeypatch, *flags, *shared, f"--run.suffix=-{suffix}") == 0
    triples, usual = (read_rows(whole / f"artifacts/run-triples{name}", "triples") for name in (f"-{suffix}", ""))
    there = {role for row in triples if row["split"] == "train" for role in ROLES if row.get(role)}
    assert there == roles
    validation = [[row for row in rows if row["split"] == "validation"] for rows in (triples, usual)]
    ids = [[[row[f"{role}_id"] for role in ROLES[:3]] for row in rows] for rows in validation]
    assert ids[0] == ids[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["warm_up", "train_reward"])
def test_kill_9_at_any_time(whole, tmp_path, name):
    config = make_run(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if name == "train_reward":
        command = [sys.executable, str(ROOT / "recipes/warm_up.py"), "--config", str(config)]
        assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    command = [sys.executable, str(ROOT / f"recipes/{name}.py"), "--config", str(config)]
    kills = 0
    for seconds in itertools.count(5):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            _, error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, error
        break
    assert kills, "it was never killed"
    mine = digests(tmp_path)
    assert mine == {path: digest for path, digest in digests(whole).items() if path in mine}
