"""vLLM by TRL's own code, on what stands in for vLLM: no vLLM runs on the machines of these tests."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ppo_toy import make_policy


HERE = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
}


@pytest.fixture
def folder(tmp_path):
    make_policy(initializer_range=0.2).save_pretrained(tmp_path / "model")
    return tmp_path


@pytest.fixture
def server(folder):
    pytest.importorskip("requests", reason="TRL's client of vLLM's server needs requests")
    command = [sys.executable, str(HERE / "vllm_standin.py"), str(folder / "model")]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train(folder, launcher=(), **options):
    command = [sys.executable, *launcher, str(HERE / "vllm_worker.py"), str(folder), json.dumps(options)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "result.json").read_text())


def check(result):
    # The policy moves far, and the sampler stays within the rounding of bf16 of it: it gets every update's weights.
    assert result["objective/kl"][0] == pytest.approx(0, abs=1e-5)
    assert max(map(abs, result["objective/kl"])) > 0.1
    differences = result["sampling/sampling_logp_difference/max"]
    assert len(differences) == 3
    assert all(1e-4 < difference < 0.1 for difference in differences)
    ratios = result["sampling/importance_sampling_ratio/mean"]
    assert ratios == pytest.approx([1, 1, 1], abs=0.02) and ratios != [1, 1, 1]
    # The old log-probabilities are the training's: the first ratio of an update is 1.
    assert result["policy/approxkl_avg"][::4] == [0, 0, 0]
    assert len(result["eval_reward"]) == 3
    assert len(set(result["lengths"])) > 1 and max(result["lengths"]) <= 6


def serving(server):
    reached = {"vllm_server_base_url": server, "vllm_server_timeout": 60.0, "vllm_group_port": free_port()}
    return {"vllm_mode": "server", **reached}


@pytest.mark.slow
def test_a_server(folder, server):
    check(train(folder, **serving(server)))


def test_in_the_training_process_with_an_adapter(folder):
    sizes = {"gpu_memory_utilization": 0.2, "tensor_parallel_size": 1}
    options = {f"vllm_{name}": value for name, value in {**sizes, "max_model_length": 40}.items()}
    result = train(folder, vllm_enable_sleep_mode=True, lora=True, **options)
    check(result)
    assert {**sizes, "max_model_len": 40}.items() <= result["engine"].items()


@pytest.mark.slow
def test_a_server_and_two_processes_with_unequal_shares(folder, server):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    check(train(folder, launcher, num_processes=2, **serving(server)))
