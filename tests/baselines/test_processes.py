"""Two machines train a baseline as one process does."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ..launch import launch
from .conftest import Run


SCRIPT = Path(__file__).with_name("drawn_alike.py")
# Not the KL, which TRL logs as a mean of its means over each pass: passes are others in two processes.
LOGGED = ("loss", "grad_norm", "reward", "completions/mean_length", "eval_accuracy", "step")


def train(run: Run, method: str, configuration: str | None) -> tuple[list[dict], dict]:
    """What was logged, and the weights."""
    suffix = f"-{method}-{configuration}"
    checkpoints = run.folder / f"checkpoints{suffix}"
    flags = ["--config", str(run.config), "--method", method, f"--run.suffix={suffix}", "--output_dir", checkpoints]
    flags += ["--logging_steps", "1", "--num_mini_batches", "1", "--run.keep_checkpoints", "true"]
    launch(configuration, SCRIPT, *map(str, flags))
    state = max(checkpoints.rglob("trainer_state.json"), key=lambda path: path.stat().st_mtime)
    log = json.loads(state.read_text())["log_history"]
    weights = load_file(run.folder / "artifacts" / f"run-baseline{suffix}" / "model.safetensors")
    return [{name: value for name, value in entry.items() if name in LOGGED} for entry in log], weights


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["grpo", "sft_equal_compute"])
def test_two_launchers_train_as_one_process(run, method):
    (log, weights), (other_log, other_weights) = (train(run, method, each) for each in (None, "ddp_nodes"))
    assert any(entry.get("grad_norm") for entry in log)
    assert len(log) == len(other_log)
    for entry, other in zip(log, other_log, strict=True):
        assert other == pytest.approx(entry, rel=1e-4, abs=1e-4)
    for name, weight in weights.items():
        torch.testing.assert_close(other_weights[name], weight, rtol=0, atol=1e-4)
