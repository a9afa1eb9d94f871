"""What recipes/README.md says: its commands are understood, its rewards are some."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from hfdistill.config import load_config
from hfdistill.flags import stage_class
from hfdistill.kinds import STAGES
from hfdistill.reward.rewards import load_rewards
from hfdistill.tasks import load_task


ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"accelerate launch .*?recipes/(\w+)\.py (--config FILE.*)", TEXT.replace("\\\n", " "))
BY_RECIPE = {Path(stage.recipe).stem: name for name, stage in STAGES.items()}


@pytest.mark.parametrize(("recipe", "flags"), COMMANDS)
def test_a_command_is_understood(recipe, flags):
    flags = flags.replace("FILE", str(ROOT / "recipes/configs/gsm8k/llama3.1-8b_to_1b.yaml"))
    stage = BY_RECIPE[recipe]
    load_config(stage, stage_class(stage), [*shlex.split(flags, comments=True), "--use_cpu", "true"])


def test_rewards_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (command,) = (flags for recipe, flags in COMMANDS if "my_rewards" in flags)
    words = shlex.split(command)
    entries = words[words.index("--rewards") + 1 :]
    task = load_task({"name": "word_problems"})
    distilled, polite = load_rewards(entries, task, lambda: None)
    rewards = [distilled.rule("", "", answer, label, 3.0) for answer, label in
               [(None, "4"), ("4", "4"), ("5", "4"), ("5", None)]]  # fmt: skip
    assert rewards == [-5.0, 3.0, 1.5, 3.0]
    assert polite(completions=["Sure, 4", "4"]) == [1.0, 0.0]
