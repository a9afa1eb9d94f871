import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch


ROOT = Path(__file__).parents[2]


def run(processes: int, batch_size: int, student: str, out: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """Run the script in so many processes that find one another as under `torchrun`."""
    out.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "tests/reward/train_apart.py", student, str(out), str(batch_size), str(processes)]
    shared = {"PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    workers = []
    for rank in range(processes):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        apart = {name: str(value) for name, value in names.items()} if processes > 1 else {}
        environment = {**os.environ, **shared, **apart, "CUDA_VISIBLE_DEVICES": ""}
        output = (out / f"{rank}.log").open("w")
        workers.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output))
    try:
        codes = [worker.wait(timeout=200) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert codes == [0] * processes, "".join(path.read_text() for path in out.glob("*.log"))
    return json.loads((out / "log.json").read_text()), torch.load(out / "weights.pt")


def test_two_processes_equal_one(student_folder, tmp_path):
    log, weights = run(1, 4, student_folder, tmp_path / "one")
    log_of_two, weights_of_two = run(2, 2, student_folder, tmp_path / "two")
    assert len(log) == len(log_of_two)
    for one, two in zip(log, log_of_two, strict=True):
        assert one.keys() == two.keys()
        # Padding differs between the processes, and with it the operations counted; nothing else may.
        for name, value in one.items() - {("total_flos", one.get("total_flos"))}:
            assert two[name] == pytest.approx(value, rel=2e-3, abs=2e-4), (name, one, two)
    for name, weight in weights.items():
        assert torch.allclose(weight, weights_of_two[name], atol=2e-4), name
