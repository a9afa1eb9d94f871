"""The commands of the demo, read as their recipes read them."""

from pathlib import Path

import pytest

from hfdistill.config import load_config
from hfdistill.demo.pipeline import same_ports
from hfdistill.demo.steps import ALL_DATA, WITHOUT_DATA, Demo
from hfdistill.flags import stage_class
from hfdistill.kinds import STAGES


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_every_step_says_what_its_recipe_understands(tmp_path, scale):
    demo = Demo(tmp_path, seed=7, scale=scale, hub_port=1, teacher_port=2, weak_port=3)
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
        "warm-up sft": ALL_DATA,
        "reward wo-d": WITHOUT_DATA,
        "PPO wo-d": WITHOUT_DATA,
    }
    assert set(suffixes) >= {"label", "warm-up", "reward", "PPO", "evaluate"}


def test_the_demo_and_the_main_table_share_all_steps_but_the_evaluation(tmp_path):
    demo = Demo(tmp_path, seed=7, scale=1.0, hub_port=1, teacher_port=2, weak_port=3)
    alone = {step.name: step.command for step in demo.distil()}
    table = {made.step.name: made.step.command for made in demo.grid(demo.settings.table("main")).steps}
    assert alone.keys() - table.keys() == {"evaluate"}
    assert table.keys() - alone.keys() == {"PPO vote", "evaluate main"}
    assert all(table[name] == alone[name] for name in alone.keys() & table.keys())


def test_labels_of_the_weak_teacher_are_told_on_every_card(tmp_path):
    demo = Demo(tmp_path, seed=7, scale=1.0, hub_port=1, teacher_port=2, weak_port=3)
    grid = demo.grid(demo.settings.table("fail", ["pessimistic", "moving labels"]))
    assert not grid.problems
    assert {made.config.teacher.model for made in grid.steps if made.stage != "evaluate"} == {demo.artifact("weak")}
    assert "label fail" in {made.step.name for made in grid.steps}


def test_ports_are_chosen_once_and_a_third_is_added(tmp_path):
    (tmp_path / "ports").write_text("8001 8002")
    ports = same_ports(tmp_path)
    assert ports[:2] == [8001, 8002] and len(ports) == 3
    assert same_ports(tmp_path) == ports
