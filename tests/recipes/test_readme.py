"""What recipes/README.md says: its commands are understood, its reward function is one."""

import re
import shlex
from pathlib import Path

import pytest

from hfdistill.config import load_config, stage_class
from hfdistill.kinds import STAGES
from hfdistill.ppo.distilled import DistilledReward
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


def test_the_reward_function_takes_the_place_of_equation_7(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1])
    monkeypatch.syspath_prepend(tmp_path)
    task = load_task({"name": "word_problems"})
    by_the_vote = DistilledReward(task, None, function="my_rewards:by_the_vote").function
    rewards = [by_the_vote("", "", answer, label, 3.0, same=task.same) for answer, label in
               [(None, "4"), ("4", "4"), ("5", "4"), ("5", None)]]  # fmt: skip
    assert rewards == [-5.0, 1.0, -1.0, 0.0]
