"""Two processes make the update that one makes, however the models are spread over them."""

import json
from pathlib import Path

import pytest
import torch
from ppo_toy import assert_same_weights
from safetensors.torch import load_file

from ..launch import launch


WORKER = Path(__file__).with_name("worker.py")
EVERYWHERE = ("ddp", "fsdp", "zero2", "zero3")
ON_TWO_MACHINES = ("ddp_nodes", "fsdp_nodes", "zero2_nodes", "zero3_nodes")
UNEVEN = {
    "total_episodes": 45,
    "rollout_batch_size": 15,
    "per_device_train_batch_size": 3,
    "num_mini_batches": 2,
    "value_warmup_updates": 1,
    "num_generations": 3,
    "relative": True,
}


def train(folder, configuration=None, **options):
    """Train in two processes, or in one; returns what was logged, and the weights."""
    launch(configuration, WORKER, str(folder), json.dumps(options))
    result = json.loads((folder / "result.json").read_text())
    files = sorted((folder / "final").rglob("*.safetensors"))
    return result, {str(file.relative_to(folder)): load_file(file) for file in files}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """What one process makes of these options."""
    made = {}

    def run(**options):
        key = json.dumps(options, sort_keys=True)
        if key not in made:
            made[key] = train(tmp_path_factory.mktemp("one"), **options)
        return made[key]

    return run


def assert_equal_runs(one, two, atol=1e-4):
    assert (one[0]["processes"], two[0]["processes"]) == (1, 2)
    assert one[0]["labels"] == two[0]["labels"]
    for name in one[0].keys() - {"processes", "labels"}:
        assert two[0][name] == pytest.approx(one[0][name], abs=1e-4), name
    assert one[1].keys() == two[1].keys()
    for file, weights in one[1].items():
        assert_same_weights(two[1][file], weights, atol=atol, rtol=0)
    assert all(torch.isfinite(value).all() for weights in two[1].values() for value in weights.values())


@pytest.mark.parametrize(
    "configuration",
    ["ddp", *(pytest.param(name, marks=pytest.mark.slow) for name in EVERYWHERE[1:] + ON_TWO_MACHINES)],
)
def test_two_processes(tmp_path, one_process, configuration):
    assert_equal_runs(one_process(**UNEVEN), train(tmp_path, configuration, num_processes=2, **UNEVEN))


@pytest.mark.slow
@pytest.mark.parametrize("configuration", EVERYWHERE)
@pytest.mark.parametrize(
    "options",
    [
        {"value_backbone": "shared", "kl_in": "loss", "tied": True},
        {"lora": True},
        {"nan_steps": [1, 4], "gradient_checkpointing": True},
        {"logits": [100, 200], "tied": True},
        {"moving": True, "total_episodes": 64},
    ],
    ids=["shared-tied", "lora", "not-finite", "logits in parts", "moving labels"],
)
def test_two_processes_with(tmp_path, one_process, configuration, options):
    two = train(tmp_path, configuration, **options)
    assert_equal_runs(one_process(**options), two)
    assert two[0]["policy/skipped_steps"][-1] == len(options.get("nan_steps", ()))


@pytest.mark.slow
@pytest.mark.parametrize("configuration", EVERYWHERE)
def test_resumed_within_an_update_with_the_best_checkpoint(tmp_path, one_process, configuration):
    options = {"total_episodes": 48, "save_strategy": "steps", "save_steps": 2, "eval_steps": 2, "eval_on_start": True}
    options |= {"load_best_model_at_end": True, "metric_for_best_model": "mean_length", "greater_is_better": True}
    whole = train(tmp_path, configuration, **options)
    assert_equal_runs(one_process(**options), whole)
    assert whole[0]["best_step"] == 0
    (tmp_path / "result.json").unlink()
    resumed = train(tmp_path, configuration, resume=str(tmp_path / "checkpoint-6"), **options)
    assert resumed[0] == whole[0]
    for file, weights in whole[1].items():
        assert_same_weights(resumed[1][file], weights, atol=0, rtol=0)


@pytest.mark.slow
def test_one_process_goes_on_where_two_were(tmp_path, one_process):
    options = {"total_episodes": 48, "save_strategy": "steps", "save_steps": 2}
    whole = one_process(**options)
    train(tmp_path, "ddp", **options)
    resumed = train(tmp_path, resume=str(tmp_path / "checkpoint-6"), **options)
    assert (resumed[0]["loss"], resumed[0]["objective/kl"]) == (
        pytest.approx(whole[0]["loss"], abs=1e-4),
        pytest.approx(whole[0]["objective/kl"], abs=1e-4),
    )
