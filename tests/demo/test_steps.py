"""The commands of the demo, read as their recipes read them."""

from pathlib import Path

import pytest

from hfdistill.config import load_config
from hfdistill.demo.steps import ALL_DATA, WITHOUT_DATA, Demo
from hfdistill.flags import stage_class
from hfdistill.kinds import STAGES


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_every_step_says_what_its_recipe_understands(tmp_path, scale):
    demo = Demo(tmp_path, seed=7, scale=scale, hub_port=1, teacher_port=2)
    suffixes = {}
    for step in demo.distil():
        place, stage = next(
            (index, stage)
            for index, word in enumerate(step.command)
            for stage in STAGES
            if Path(word).name == STAGES[stage].recipe
        )
        config = load_config(stage, stage_class(stage), list(step.command[place + 1 :]))
        assert (config.run.name, config.run.seed, config.task["seed"]) == (demo.run, 7, 7)
        suffixes[step.name] = config.run.suffix
    assert {name: suffix for name, suffix in suffixes.items() if suffix} == {
        "SFT on all data": ALL_DATA,
        "reward w-o D": WITHOUT_DATA,
        "PPO w-o D": WITHOUT_DATA,
    }
    assert set(suffixes) >= {"label", "warm-up", "reward", "PPO", "evaluate"}
