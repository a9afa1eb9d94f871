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
        "warm-up sft": ALL_DATA,
        "reward wo-d": WITHOUT_DATA,
        "PPO wo-d": WITHOUT_DATA,
    }
    assert set(suffixes) >= {"label", "warm-up", "reward", "PPO", "evaluate"}


def test_the_demo_and_the_main_table_share_all_steps_but_the_evaluation(tmp_path):
    demo = Demo(tmp_path, seed=7, scale=1.0, hub_port=1, teacher_port=2)
    alone = {step.name: step.command for step in demo.distil()}
    table = {made.step.name: made.step.command for made in demo.grid(demo.settings.table("main")).steps}
    assert alone.keys() - table.keys() == {"evaluate"}
    assert table.keys() - alone.keys() == {"PPO vote", "evaluate main"}
    assert all(table[name] == alone[name] for name in alone.keys() & table.keys())


def test_the_teacher_itself_leaves_enough_questions_without_a_label(tmp_path):
    demo = Demo(tmp_path, seed=7, scale=1.0, hub_port=1, teacher_port=2)
    steps = {made.step.name: made.step.command for made in demo.grid(demo.settings.table("fail")).steps}
    assert not {name for name in steps if name.startswith(("relabel", "label fail", "warm-up fail"))}
    # What has the run's own labels, too, is shared with it, and what moves other labels is apart.
    rewards = {made.step.name: made.step.command for made in demo.grid(demo.settings.table("rewards")).steps}
    noise = {made.step.name: made.step.command for made in demo.grid(demo.settings.table("noise")).steps}
    assert {"warm-up", "reward", "PPO vote-groups", "PPO pessimistic-groups"} <= steps.keys() & rewards.keys()
    for other in (rewards, noise):
        assert all(steps[name] == other[name] for name in steps.keys() & other.keys())


def test_ports_are_chosen_once(tmp_path):
    ports = same_ports(tmp_path)
    assert len(set(ports)) == 2
    assert same_ports(tmp_path) == ports
