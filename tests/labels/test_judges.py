"""Who judges after labelling: the stage's own setting, section `label`, or the one whom the labels name."""

import json

import pytest
import yaml

from hfdistill.config import load_config
from hfdistill.errors import HFDistillError
from hfdistill.flags import stage_class
from hfdistill.kinds import TRIPLES
from hfdistill.labels.judges import open_judge
from hfdistill.labels.vote import VoteLabeler
from hfdistill.tasks import load_task


OPEN = {"name": "generic", "answer": "open"}
SECTIONS = {"run": {"name": "run"}, "task": OPEN, "student": {"model": "small"}}


@pytest.fixture
def reward(tmp_path):
    def load(*flags, **sections):
        (tmp_path / "run.yaml").write_text(yaml.safe_dump({**SECTIONS, **sections}))
        words = ["--config", str(tmp_path / "run.yaml"), "--use_cpu", "true", "--bf16", "false", *flags]
        return load_config("reward", stage_class("reward"), words)

    return load


def labelled_by(**stage) -> dict:
    return {"config": {"stage": stage}}


def judge(config, labels=None):
    return open_judge("reward", config, load_task(config.task), labels)


def test_the_nearest_that_is_named_judges(reward):
    label = {"labeler": "llm_judge", "labeler_options": {"endpoint": "http://a", "verdicts": 3}}
    of_own = labelled_by(labeler={"name": "llm_judge", "endpoint": "http://c", "mode": "compare"})
    own = ["--judge", json.dumps({"endpoint": "http://b"})]
    assert judge(reward(*own, label=label), of_own).endpoint == "http://b"
    assert judge(reward(label=label), of_own).verdicts == 3
    assert judge(reward(), of_own).mode == "compare"
    # The teacher itself, as the recipe writes it down.
    by_itself = labelled_by(
        labeler="llm_judge", labeler_options={"name": "llm_judge", "endpoint": False, "model": None}
    )
    assert judge(reward(), by_itself).endpoint is None


def test_nobody_is_known_to_judge(reward):
    somewhere = labelled_by(labeler="llm_judge", labeler_options={"name": "llm_judge", "endpoint": True, "model": "m"})
    for labels, message in (
        (None, "nobody is named who tells its good responses from bad ones: give reward.judge"),
        (labelled_by(labeler="vote"), "nobody is named"),
        (somewhere, "judged by 'm', whose address is not written in them: give reward.judge"),
        (labelled_by(labeler={"name": "vote"}), "task 'generic' is open-ended"),
    ):
        with pytest.raises(HFDistillError, match=message):
            judge(reward(), labels)


def test_a_judge_decides_the_triples_by_what_it_is(reward):
    def identity(**options):
        config = reward("--judge", json.dumps(options))
        judge(config)
        return config.identity(TRIPLES)["stage"]["judge"]

    assert identity(endpoint="http://a", model="m") == identity(endpoint="http://b", model="m")
    assert identity(endpoint="http://a") != identity(endpoint="http://a", verdicts=2)
    # A run with final answers is what it was before there were judges.
    config = reward(task={"name": "generic"}, label={"labeler": "llm_judge", "labeler_options": {}})
    assert config.asked["judge"] is None and "judge" not in config.identity(TRIPLES)["stage"]


def test_a_vote_is_refused_before_anything_is_bought():
    with pytest.raises(HFDistillError, match="no two responses have one final answer to vote for"):
        VoteLabeler().check(load_task(OPEN))
