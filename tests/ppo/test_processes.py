"""Two processes make the update that one makes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ppo_toy import assert_same_weights
from safetensors.torch import load_file


WORKER = Path(__file__).with_name("worker.py")


def launch(folder, launcher=(), **options):
    """Train in processes of their own; returns what was logged, and the weights."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, *launcher, str(WORKER), str(folder), json.dumps(options)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((folder / "result.json").read_text())
    weights = {path.name: load_file(path) for path in sorted((folder / "final").rglob("*.safetensors"))}
    return result, weights


def torchrun(processes):
    return ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]


def assert_equal_runs(one, two, atol=1e-4):
    assert two[0].pop("processes") == 2
    one[0].pop("processes", None)
    for name, values in one[0].items():
        assert two[0][name] == pytest.approx(values, abs=1e-4), name
    assert one[1].keys() == two[1].keys()
    for file, weights in one[1].items():
        assert_same_weights(two[1][file], weights, atol=atol, rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"rollout_batch_size": 15, "per_device_train_batch_size": 3, "num_mini_batches": 2, "value_warmup_updates": 1},
        pytest.param({"value_backbone": "shared", "kl_in": "loss"}, marks=pytest.mark.slow),
        pytest.param({"lora": True}, marks=pytest.mark.slow),
    ],
    ids=["separate", "shared", "lora"],
)
def test_data_parallel(tmp_path, options):
    options = {"total_episodes": 45, **options}
    one = launch(tmp_path / "one", **options)
    two = launch(tmp_path / "two", torchrun(2), num_processes=2, **options)
    assert_equal_runs(one, two)
    assert all(torch.isfinite(value).all() for weights in two[1].values() for value in weights.values())


@pytest.mark.slow
def test_a_run_of_two_processes_resumes_within_an_update(tmp_path):
    options = {"total_episodes": 48, "save_strategy": "steps", "save_steps": 3, "num_processes": 2}
    whole = launch(tmp_path, torchrun(2), **options)
    (tmp_path / "result.json").unlink()
    resumed = launch(tmp_path, torchrun(2), resume=str(tmp_path / "checkpoint-6"), **options)
    assert resumed[0] == whole[0]
    for file, weights in whole[1].items():
        assert_same_weights(resumed[1][file], weights, atol=0, rtol=0)
