"""Two processes train the reward model that one trains, however its weights are spread over them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ..launch import launch


SCRIPT = Path(__file__).with_name("train_apart.py")


def run(configuration: str | None, student: str, out: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """The log and the saved weights of one process, or of two."""
    out.mkdir()
    launch(configuration, SCRIPT, student, str(out), "1" if configuration is None else "2")
    return json.loads((out / "log.json").read_text()), load_file(out / "final" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["ddp", "fsdp", "zero2", "zero3", "ddp_nodes", "zero3_nodes"])
def test_two_processes_equal_one(student_folder, tmp_path, configuration):
    log, weights = run(None, student_folder, tmp_path / "one")
    log_of_two, weights_of_two = run(configuration, student_folder, tmp_path / "two")
    assert len(log) == len(log_of_two)
    for one, two in zip(log, log_of_two, strict=True):
        assert one.keys() == two.keys()
        # Padding differs between the processes, and with it the operations counted; nothing else may.
        for name, value in one.items() - {("total_flos", one.get("total_flos"))}:
            assert two[name] == pytest.approx(value, rel=2e-3, abs=2e-4), (name, one, two)
    assert weights.keys() == weights_of_two.keys()
    for name, weight in weights.items():
        assert torch.allclose(weight, weights_of_two[name], atol=2e-4), name
