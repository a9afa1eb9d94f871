"""Starts tests' scripts by the launch configurations of recipes/accelerate, in two processes on CPUs."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from accelerate import DistributedType, PartialState

from hfdistill.servers.process import free_port


ROOT = Path(__file__).parents[1]


def launch(configuration: str | None, script: Path, *arguments: str) -> None:
    """Run a script in two processes, or in one without a configuration. One for several machines is launched twice, as
    on two machines with a process each.
    """
    if configuration is None:
        return run([str(script), *arguments])
    if configuration.startswith("zero") and find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed: pip install 'hfdistill[deepspeed]'")
    file = ROOT / "recipes" / "accelerate" / f"{configuration}.yaml"
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(file), "--mixed_precision", "no"]
    launcher += ["--num_processes", "2"]
    if configuration.endswith("_nodes"):
        launcher += ["--main_process_ip", "127.0.0.1", "--main_process_port", str(free_port())]
        machines = [[*launcher, "--machine_rank", str(rank)] for rank in range(2)]
    else:
        machines = [[*launcher, "--main_process_port", "0"]]
    run(*([*machine, str(script), *arguments] for machine in machines))


def run(*commands: list[str]) -> None:
    """Run Python with these arguments, all at once."""
    paths = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    deadline = time.monotonic() + 280
    with ExitStack() as stack:
        started = []
        for command in commands:
            output = stack.enter_context(tempfile.TemporaryFile("w+"))
            process = subprocess.Popen([sys.executable, *command], env=environment, stdout=output, stderr=output)
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append((process, output))
        for process, output in started:
            process.wait(max(deadline - time.monotonic(), 0.1))
            output.seek(0)
            assert process.returncode == 0, output.read()[-5000:]


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
