"""Starts tests' scripts by the launch configurations of recipes/accelerate, in two processes on CPUs."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from accelerate import DistributedType, PartialState


ROOT = Path(__file__).parents[1]


def launch(configuration: str | None, script: Path, *arguments: str) -> None:
    """Run a script in two processes, or in one without a configuration."""
    launcher = []
    if configuration is not None:
        if configuration.startswith("zero") and find_spec("deepspeed") is None:
            pytest.skip("DeepSpeed is not installed: pip install 'hfdistill[deepspeed]'")
        file = ROOT / "recipes" / "accelerate" / f"{configuration}.yaml"
        launcher = ["-m", "accelerate.commands.launch", "--config_file", str(file), "--mixed_precision", "no"]
        launcher += ["--num_processes", "2", "--main_process_port", "0"]
    paths = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    command = [sys.executable, *launcher, str(script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-5000:]


def cpu_options() -> dict:
    """Training arguments with which a script trains on CPUs under each of the configurations."""
    options = {"use_cpu": True, "ddp_backend": "gloo" if "WORLD_SIZE" in os.environ else None}
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        # accelerate turns FSDP on for GPUs only; what it then does runs on CPUs, too.
        PartialState(cpu=True, backend="gloo").distributed_type = DistributedType.MULTI_GPU
        options["accelerator_config"] = {"use_configured_state": True}
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed.ops

        # An extension that makes all-reduce faster on CPUs; compiling it takes minutes.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return options
