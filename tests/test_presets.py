"""The configurations that ship: each is valid, and says what it says of itself."""

from pathlib import Path

import pytest
import yaml

from hfdistill.errors import HFDistillError
from hfdistill.runs.validation import validate


ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "recipes" / "configs").glob("*/*.yaml"))
PAPER = [path for path in PRESETS if path.parent.name != "word_problems"]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_preset_is_valid(path):
    configs = validate(str(path), ["teacher.endpoints=http://127.0.0.1:1"])
    assert set(configs) == {"label", "warmup", "reward", "ppo", "evaluate"}


def test_the_paper_has_eight():
    assert len(PAPER) == 8


@pytest.mark.parametrize("path", PAPER, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_preset_of_the_paper_holds_its_settings(path):
    configs = validate(str(path), ["teacher.endpoints=http://127.0.0.1:1"])
    label, reward, ppo = configs["label"].stage, configs["reward"].stage, configs["ppo"].stage
    assert label.high_temperatures == [0, 0.1, 0.2, 0.3] and label.high_samples == label.low_samples == 5
    assert label.low_temperatures == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert label.threshold == 0.7
    assert (reward.samples, reward.temperature, reward.classification_weight) == (30, 0.7, 0.5)
    assert (ppo.kl_coef, ppo.vf_coef, ppo.total_episodes) == (0.2, 0.1, 200_000)
    assert f"recipes/configs/{path.parent.name}/{path.name}" in path.read_text(encoding="utf-8")


def test_a_preset_without_an_endpoint_says_so():
    with pytest.raises(HFDistillError, match="names no endpoint"):
        validate(str(PAPER[0]))


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_its_configurations(path):
    from accelerate.commands.config.config_args import load_config_from_file

    read = load_config_from_file(str(path))
    assert read.num_processes == yaml.safe_load(path.read_text(encoding="utf-8"))["num_processes"] == 4
