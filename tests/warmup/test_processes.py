"""Two processes warm a student up as one does, however its weights are spread over them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ..launch import launch


SCRIPT = Path(__file__).with_name("train_apart.py")


def run(configuration, student, out, adapter, *resume):
    out.mkdir(exist_ok=True)
    launch(configuration, SCRIPT, str(student), str(out), adapter, *resume)
    return json.loads((out / "log.json").read_text()), load_file(out / "final" / "model.safetensors")


def assert_equal_runs(one, two, tolerance):
    (log, weights), (other_log, other_weights) = one, two
    assert len(log) == len(other_log)
    for entry, other in zip(log, other_log, strict=True):
        assert entry == pytest.approx(other, rel=tolerance, abs=tolerance)
    assert weights.keys() == other_weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(other_weights[name], weight, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["none", "lora"])
@pytest.mark.parametrize("configuration", ["ddp", "fsdp", "zero2", "zero3", "ddp_nodes"])
def test_two_processes_equal_one_and_resume(student, encoder, tmp_path, configuration, adapter):
    student.save_pretrained(tmp_path / "student")
    encoder.tokenizer.save_pretrained(tmp_path / "student")
    places = {name: tmp_path / name for name in ("student", "one", "two")}
    one = run(None, places["student"], places["one"], adapter)
    two = run(configuration, places["student"], places["two"], adapter)
    assert (one[0][-1].pop("processes"), two[0][-1].pop("processes")) == (1, 2)
    assert_equal_runs(one, two, 1e-4)
    last = "checkpoints/checkpoint-8"
    resumed = run(configuration, places["student"], places["two"], adapter, str(places["two"] / last))
    assert_equal_runs(two, (resumed[0][:-1] + two[0][-1:], resumed[1]), 0)
    if configuration == "ddp":
        # Two processes go on where one ended: updates and schedule are the same.
        taken_over = run("ddp", places["student"], places["one"], adapter, str(places["one"] / last))
        assert_equal_runs(one, (taken_over[0][:-1] + one[0][-1:], taken_over[1]), 1e-4)
