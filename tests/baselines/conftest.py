"""A run for baselines to be made of."""

from pathlib import Path

import pytest
import yaml
from accelerate.state import AcceleratorState

from ..reward.test_recipes import make_run, recipe


SETTINGS = {
    "warmup": {
        "eval_strategy": "no",
        "save_strategy": "no",
        "num_train_epochs": 5,
        "learning_rate": 1e-2,
        "bf16": False,
        "use_cpu": True,
    },
    "reward": {
        "eval_strategy": "no",
        "save_strategy": "no",
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "samples": 20,
        "bf16": False,
        "use_cpu": True,
    },
    "baseline": {
        "total_episodes": 32,
        "rollout_batch_size": 16,
        "num_mini_batches": 2,
        "num_generations": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "beta": 0.05,
        "eval_steps": 0.5,
        "save_steps": 0.5,
        "validation_questions": 8,
        "bf16": False,
        "use_cpu": True,
    },
}


class Run:
    """A run with a warm-up and a reward model, and baselines on them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = make_run(folder)
        content = yaml.safe_load(self.config.read_text())
        content["teacher"]["model"] = str(folder / "base")
        self.config.write_text(yaml.safe_dump({**content, **SETTINGS}))
        self.launch("warm_up")
        self.launch("train_reward")

    def launch(self, name: str, *flags: str, status: int = 0) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        with pytest.MonkeyPatch.context() as monkeypatch:
            assert recipe(name, self.config, monkeypatch, *flags) == status

    def baseline(self, method: str, *flags: str, suffix: str = "", status: int = 0) -> Path:
        """Folder of what a method makes."""
        suffix = suffix or f"-{method}"
        self.launch("train_baseline", "--method", method, f"--run.suffix={suffix}", *flags, status=status)
        return self.folder / "artifacts" / f"run-baseline{suffix}"


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))
