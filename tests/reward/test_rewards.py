"""Rewards by name: entries of `ppo.rewards`, weights, plain functions, and what is wrong with one."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.ppo.stage import DistillPPOConfig
from hfdistill.reward.brief import brief
from hfdistill.reward.distilled import DistilledReward, PessimisticReward
from hfdistill.reward.rewards import (
    check_rewards,
    installed_rewards,
    load_reward,
    load_rewards,
    needs_model,
    read_entry,
    resolved_entry,
)
from hfdistill.reward.vote import VoteReward
from hfdistill.tasks import load_task


@pytest.fixture(scope="module")
def task():
    return load_task({"name": "word_problems", "train": 4, "validation": 3, "test": 2})


@pytest.mark.parametrize(
    ("entry", "section", "weight"),
    [
        ("distilled", {"name": "distilled"}, 1.0),
        ("{name: brief, weight: 0.1}", {"name": "brief"}, 0.1),
        ({"name": "distilled", "variant": "minus", "weight": 2}, {"name": "distilled", "variant": "minus"}, 2.0),
        ("my_rewards:short", {"name": "my_rewards:short"}, 1.0),
    ],
)
def test_an_entry(entry, section, weight):
    assert read_entry(entry) == (section, weight)


@given(st.text(max_size=20))
def test_whatever_is_written_is_an_entry_or_one_error(text):
    try:
        section, weight = read_entry(text)
    except HFDistillError:
        return
    assert isinstance(section["name"], str) and isinstance(weight, float)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["destilled"], "unknown reward 'destilled', did you mean 'distilled'"),
        ([{"name": "distilled", "variants": "min"}], "option of reward distilled: 'variants', did you mean 'variant'"),
        ([{"name": "distilled", "variant": "minos"}], "did you mean 'minus'"),
        ([{"name": "brief", "unit": 3}], "brief is a function and has no options but weight: unit"),
        ([{"name": "brief", "weight": "much"}], "the weight of reward brief is 'much'"),
        ([{"name": "brief", "weight": float("nan")}], "the weight of reward brief is nan"),
        ([{"weight": 1}], "an entry is a name, or a mapping"),
        (["{name: brief"], "is no YAML mapping"),
        ([3], "an entry is a name, or a mapping"),
        ([], "ppo.rewards is empty"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(tmp_path, entries, message):
    with pytest.raises(HFDistillError, match=message):
        check_rewards(entries)
    with pytest.raises(HFDistillError, match=message):
        DistillPPOConfig(str(tmp_path), rewards=entries, use_cpu=True)


def test_the_section_keeps_the_list_as_given_and_weighs_by_it(tmp_path):
    given = ["distilled", "{name: brief, weight: 0.1}"]
    config = DistillPPOConfig(str(tmp_path), rewards=given, use_cpu=True)
    assert config.rewards == given
    assert config.reward_weights == [1.0, 0.1]
    assert DistillPPOConfig(str(tmp_path), use_cpu=True).rewards == ["distilled"]


def test_which_ask_the_model():
    for name in ("clipped", "delta", "distilled", "pessimistic", "stratified"):
        assert needs_model(["brief", {"name": name, "weight": 0.5}])
    assert not needs_model(["vote", "{name: brief, weight: 0.1}", "elsewhere:short"])


def test_what_decides_is_the_same_however_it_is_written():
    short, long = "distilled", {"name": "distilled", "variant": "min", "function": None, "weight": 1}
    assert resolved_entry(short) == resolved_entry(long) == {**long, "weight": 1.0}
    assert resolved_entry("{name: brief, weight: 0.5}") == resolved_entry({"weight": 0.5, "name": "brief"})
    assert resolved_entry("{name: distilled, variant: minus}") != resolved_entry(short)
    # The user's own module need not be at hand.
    assert resolved_entry("elsewhere:short") == {"name": "elsewhere:short", "weight": 1.0}


def test_the_built_in_ones_are_those_of_the_package():
    assert {"brief", "clipped", "distilled", "pessimistic", "stratified", "vote"} <= set(installed_rewards())
    assert load_reward({"name": "pessimistic", "variant": "minus"}) == PessimisticReward("minus", pessimism=1.0)
    assert load_reward({"name": "distilled", "variant": "minus"}) == DistilledReward("minus")
    assert load_reward({"name": "distilled"}).__name__ == "distilled"


def test_the_reward_model_is_loaded_only_if_one_asks_it(task):
    loaded = []
    rewards = load_rewards(["brief", "vote"], task, lambda: loaded.append(1))
    assert not loaded and rewards[0] is brief and isinstance(rewards[1], VoteReward)
    distilled, _ = load_rewards(["distilled", "brief"], task, lambda: "scorer", few_shot=True)
    assert (distilled.scorer, distilled.few_shot, distilled.task) == ("scorer", True, task)


def test_the_vote_alone(task):
    reward = VoteReward().prepare(task)
    texts = ["no idea", "The answer is 7.", "The answer is 8.", "The answer is 8."]
    logged = {}
    rewards = reward(
        prompts=[""] * 4,
        completions=[texts[0], *([{"role": "assistant", "content": text}] for text in texts[1:])],
        completion_ids=[[1]] * 4,
        question_id=[task.questions()[0].question_id] * 4,
        pseudo_label=["7", "7", "7", None],
        log_metric=logged.__setitem__,
    )
    assert rewards == [-5.0, 1.0, -1.0, 0.0]
    assert logged == {"objective/no_answer_rate": 1 / 4, "objective/pseudo_label_rate": 1 / 3}


def test_brief_counts_hundreds_of_tokens():
    assert brief(completion_ids=[[4] * 50, [4] * 200], completions=["", ""]) == [-0.5, -2.0]


def test_a_function_of_ones_own_in_the_working_directory(task, tmp_path, monkeypatch):
    (tmp_path / "own_rewards.py").write_text(
        "from dataclasses import dataclass\nfrom hfdistill.reward.rewards import Reward\n"
        "def short(completions, **columns):\n    return [-float(len(text)) for text in completions]\n"
        "@dataclass\nclass Same(Reward):\n    value: float = 1.0\n"
        "    def __call__(self, completions, **columns):\n        return [self.value] * len(completions)\n"
    )
    monkeypatch.chdir(tmp_path)
    # A configuration is read where the module need not be.
    assert check_rewards(["elsewhere:short"]) == [1.0]
    short, same = load_rewards(["own_rewards:short", {"name": "own_rewards:Same", "value": 3.0}], task, lambda: None)
    assert short(completions=["ab"]) == [-2.0]
    assert same(completions=["ab"]) == [3.0] and same.task is task
    for entry, message in (
        ("elsewhere:short", "'elsewhere:short' cannot be loaded"),
        ("own_rewards:long", "'own_rewards:long' cannot be loaded"),
        ({"name": "own_rewards:Same", "values": 3.0}, "option of reward own_rewards:Same: 'values'"),
    ):
        with pytest.raises(HFDistillError, match=message):
            load_rewards([entry], task, lambda: None)
    assert str(tmp_path) in sys.path
    sys.path.remove(str(tmp_path))
