"""The configurations that ship: each is valid, and says what it says of itself."""

import re
import shlex
from math import prod
from pathlib import Path

import pytest
import yaml

from hfdistill.config import load_config
from hfdistill.errors import HFDistillError
from hfdistill.fields import plain
from hfdistill.flags import stage_class
from hfdistill.kinds import CHAIN
from hfdistill.runs.ablation_tables import ablation_tables
from hfdistill.runs.validation import validate
from hfdistill.tasks import load_task


ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "recipes" / "configs").glob("*/*.yaml"))
PAGE = (ROOT / "docs" / "paper-settings.md").read_text(encoding="utf-8")
PAPER = [path for path in PRESETS if path.parent.name != "word_problems"]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_preset_is_valid(path):
    configs = validate(str(path), ["teacher.endpoints=http://127.0.0.1:1"])
    assert set(configs) == {*CHAIN, "baseline"}


def test_the_paper_has_eight():
    assert len(PAPER) == 8


@pytest.fixture(scope="module")
def paper() -> dict[str, dict]:
    """The paper's configurations as each stage sees them, by name."""
    given = ["teacher.endpoints=http://127.0.0.1:1"]
    return {f"{path.parent.name}/{path.stem}": validate(str(path), given) for path in PAPER}


def setting(configs: dict, key: str):
    """What a configuration sets, by `section.key`; an option of the task is the one that the stages read."""
    section, name = key.split(".")
    holder = load_task(configs["label"].task) if section == "task" else configs[section].stage
    return plain(vars(holder)[name])


def test_a_preset_names_itself():
    for path in PAPER:
        assert f"recipes/configs/{path.parent.name}/{path.name}" in path.read_text(encoding="utf-8")


def test_the_lengths_are_the_task_s(paper):
    for configs in paper.values():
        longest = setting(configs, "task.max_new_tokens")
        for key in ("label.max_new_tokens", "reward.max_new_tokens", "ppo.max_completion_length"):
            assert setting(configs, key) == longest


def test_what_the_page_says_of_all(paper):
    rows = re.findall(r"^\| `(\w+\.\w+)` \| .*? \| (.*?) \| .*\|$", PAGE, re.MULTILINE)
    assert len(rows) > 30
    for key, cell in rows:
        said = {task: yaml.safe_load(value) for value, task in re.findall(r"`([^`]+)`(?: \((\w+)\))?", cell)}
        for name, configs in paper.items():
            value = said.get("", said.get(name.split("/")[0]))
            assert setting(configs, key) == plain(number(value)), (name, key)


def test_what_the_page_says_of_each(paper):
    (head,) = re.findall(r"^\| configuration \| (.*) \|$", PAGE, re.MULTILINE)
    keys = head.replace("`", "").split(" | ")
    rows = re.findall(r"^\| `(\w+/[\w.-]+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == paper.keys()
    for name, cells in rows:
        for key, cell in zip(keys, cells.split(" | "), strict=True):
            factors, _, total = cell.rpartition(" = ")
            assert not factors or prod(int(factor) for factor in factors.split(" × ")) == int(total)
            assert setting(paper[name], key) == plain(float(total)), (name, key)


def test_an_update_is_shared_by_one_two_or_four_gpus(paper):
    for configs in paper.values():
        for key in ("warmup.global_batch_size", "reward.global_batch_size", "ppo.rollout_batch_size"):
            assert setting(configs, key) % 4 == 0


def test_ours_without_data_has_settings_of_its_own():
    text = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"train_ppo\.py --config FILE (.*-wo-d.*)", text.replace("\\\n", " "))
    words = [*shlex.split(command), "--use_cpu"]
    stage = load_config("ppo", stage_class("ppo"), ["--config", str(PAPER[0]), *words]).stage
    assert (stage.learning_rate, stage.kl_coef, stage.warmup) == (5e-5, 0.1, "BASE")
    (wanted,) = (row.wanted for row in ablation_tables(few_shot=True)["main"].rows if row.name == "Ours w/o D")
    assert " ".join(wanted.flags) in command and f"--run.suffix={wanted.suffix}" in command


def number(value):
    """YAML reads 5e-6 as a text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def test_a_preset_without_an_endpoint_says_so():
    with pytest.raises(HFDistillError, match="names no endpoint"):
        validate(str(PAPER[0]))


def test_a_pessimistic_reward_without_an_ensemble_says_so():
    given = ["teacher.endpoints=http://127.0.0.1:1", "ppo.rewards=pessimistic"]
    with pytest.raises(HFDistillError, match=r"pessimistic takes 1 standard deviations .* reward.ensemble is 1"):
        validate(str(PAPER[0]), given)
    assert validate(str(PAPER[0]), [*given, "reward.ensemble=5"])
    assert validate(str(PAPER[0]), [*given, "ppo.reward=me/judge"])


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_its_configurations(path):
    from accelerate.commands.config.config_args import load_config_from_file

    read = load_config_from_file(str(path))
    on_each_machine = 8 if read.num_machines > 1 else 4
    assert read.num_processes == read.num_machines * on_each_machine
