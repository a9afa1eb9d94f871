"""A small run of the five recipes: real Hub, real endpoint, `accelerate launch`, models that learn in seconds."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hfdistill.kinds import CHAIN
from hfdistill.runs.stages import ON_CPU, recipe_step
from hfdistill.servers.process import ServerProcess, free_port
from hfdistill.tasks.word_problems import problems


OPERATIONS, LARGEST_TOTAL = (1, 2), 9
MAKE_MODEL = """
import sys
from pathlib import Path
from huggingface_hub import HfApi
from hfdistill.demo.models import Recipe, train
name, layers, hidden, solutions, folder = sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5])
recipe = Recipe(layers, hidden, solutions, hasty=(0.3, 0.1), operations=(1, 2), largest_total=9)
train(recipe, 0, folder, name)
api = HfApi()
api.create_repo(name, exist_ok=True)
api.upload_folder(repo_id=name, folder_path=folder, ignore_patterns=["checkpoints/*"])
"""
SETTINGS = {
    "run": {"name": "tiny"},
    "teacher": {"model": "local/tiny-large", "license": "apache-2.0"},
    "student": {"model": "local/tiny-small"},
    "label": {"high_samples": 2, "low_temperatures": [0.7, 1.0], "low_samples": 2},
    "warmup": {
        "num_train_epochs": 1,
        "per_device_train_batch_size": 16,
        "learning_rate": 1e-3,
        "max_per_question": 2,
        "use_cpu": True,
        "bf16": False,  # which some processors would compute in
    },
    "reward": {
        "samples": 6,
        "temperature": 1.0,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 16,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
    },
    "ppo": {
        "total_episodes": 256,
        "rollout_batch_size": 64,
        "num_ppo_epochs": 1,
        "num_mini_batches": 2,
        "per_device_train_batch_size": 32,
        "learning_rate": 3e-4,
        "kl_coef": 0.05,
        "use_cpu": True,
        "bf16": False,
    },
    "evaluate": {},
}


@dataclass
class Recipes:
    """Where a small run's Hub, endpoint and files are."""

    folder: Path
    hub: str
    teacher: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HF_ENDPOINT": self.hub,
            "HF_HOME": str(self.folder / "hf-home"),
            "HF_TOKEN": "hf_test",
            "TRANSFORMERS_VERBOSITY": "error",
        }

    def python(self, code: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run code in a process of its own that sees this Hub."""
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=self.folder)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def write_questions(self, name: str, gold: Callable[[int], str] = str) -> Path:
        """Questions of the word-problem generator as JSON lines, with `gold(answer)` as their gold answer."""
        folder = self.folder / name
        folder.mkdir()
        for split, count in (("train", 160), ("validation", 40), ("test", 60)):
            rows = itertools.islice(problems(0, split, OPERATIONS, LARGEST_TOTAL), count)
            lines = [json.dumps({"question": row.text, "answer": gold(row.answer)}) for row in rows]
            (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return folder

    def write_config(self, name: str, questions: Path, **run) -> Path:
        """A configuration over a folder of question files."""
        settings = {**SETTINGS, "run": {**SETTINGS["run"], "output_dir": str(self.folder / name), **run}}
        settings["task"] = {
            "name": "generic",
            "path": str(questions),
            "answer_column": "answer",
            "validation_split": "validation",
            "test_split": "test",
            "max_new_tokens": 48,
        }
        settings["teacher"] = {**SETTINGS["teacher"], "endpoints": [self.teacher]}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return path

    def recipe(self, stage: str, config: Path, *flags: str) -> subprocess.CompletedProcess:
        """Launch a recipe and wait for it."""
        command = recipe_step(stage, ["--config", str(config), *flags], ON_CPU).command
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=self.folder)


@pytest.fixture(scope="session")
def recipes(tmp_path_factory) -> Recipes:
    """Hub and teacher, with both models trained."""
    folder = tmp_path_factory.mktemp("recipes")
    ports = free_port(), free_port()
    run = Recipes(folder, *(f"http://127.0.0.1:{port}" for port in ports))
    with ExitStack() as servers:
        options = ["--host", "127.0.0.1", "--port", str(ports[0]), "--data", str(folder / "hub")]
        servers.enter_context(ServerProcess(["hub", "serve", *options], run.hub, "/healthz", folder / "hub.log"))
        run.python(MAKE_MODEL, "local/tiny-large", "2", "64", "6000", str(folder / "large"))
        run.python(MAKE_MODEL, "local/tiny-small", "2", "48", "2500", str(folder / "small"))
        options = ["--host", "127.0.0.1", "--port", str(ports[1]), "--dtype", "float64"]
        servers.enter_context(
            ServerProcess(
                ["serve", "local/tiny-large", *options],
                run.teacher,
                "/health",
                folder / "teacher.log",
                run.environment,
            )
        )
        yield run


@pytest.fixture(scope="session")
def finished(recipes) -> Path:
    """The configuration of a run whose five stages are done."""
    config = recipes.write_config("pushed", recipes.write_questions("questions"))
    for stage in CHAIN:
        done = recipes.recipe(stage, config)
        assert done.returncode == 0, f"{stage}\n{done.stdout}\n{done.stderr}"
    return config
