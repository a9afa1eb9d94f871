"""Shards of a plan: together they are the plan, and what they asked for is bought once."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.sections import TeacherConfig
from hfdistill.teacher.journal import Journal, Response
from hfdistill.teacher.plan import Grid, Plan
from hfdistill.teacher.protocols import Decoding
from hfdistill.teacher.session import collect
from hfdistill.teacher.shards import Shard, take_shards


@dataclass
class Asked:
    question_id: str


def plan_of(count, prompt="{}: how many?"):
    return Plan([Asked(f"q{n}") for n in range(count)], lambda q: prompt.format(q.question_id), Grid([0.0, 0.3], 2), 7)


@given(questions=st.integers(0, 40), count=st.integers(1, 12))
def test_shards_are_the_plan_each_request_once(questions, count):
    plan = plan_of(questions)
    parts = [Shard(index, count).of(plan) for index in range(1, count + 1)]
    found = [request for part in parts for question in part.questions for request in part.of(question)]
    wanted = [request for question in plan.questions for request in plan.of(question)]
    assert sorted(found, key=repr) == sorted(wanted, key=repr)
    assert {part.prompts_digest() for part in parts} == {plan.prompts_digest()}
    assert max(map(len, parts)) - min(map(len, parts)) <= plan.grid.requests


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3 of 8", "1/0", ""])
def test_what_is_no_shard_is_said(text):
    with pytest.raises(HFDistillError, match="it reads 3/8 for the third of eight"):
        Shard.read(text)


def test_a_shard_has_its_share_of_what_may_be_bought():
    teacher = Shard(1, 8).share(TeacherConfig("some/teacher", max_requests=20, max_cost=4.0, gpu_hour_price=1.0))
    assert (teacher.max_requests, teacher.max_cost) == (3, 0.5)
    assert Shard(1, 8).share(TeacherConfig("some/teacher")).max_requests is None


def test_what_shards_asked_for_is_bought_once(tmp_path, stand_in):
    endpoint, plan = stand_in(), plan_of(5)
    teacher, decoding = TeacherConfig("stand-in/teacher", endpoints=[endpoint.url]), Decoding(16)
    for index in (1, 3):  # the second machine was lost
        with Journal(Shard(index, 3).journal(tmp_path)) as journal:
            collect(journal, teacher, Shard(index, 3).of(plan), decoding, probe=False, show=False)
    bought = endpoint.control()["answered"]
    for _ in range(2):
        with Journal(tmp_path / "journal.sqlite") as journal:
            asked = collect(journal, teacher, plan, decoding, probe=False, show=False, shards=tmp_path)
            assert asked["cost"]["requests"] == len(plan) == len(journal.rows())
    assert endpoint.control()["answered"] - bought == 2 * plan.grid.requests
    shard = tmp_path / "journal-1-of-3.sqlite"
    with (
        Journal(tmp_path / "other.sqlite") as journal,
        Journal(shard),
        pytest.raises(HFDistillError, match="another process is sampling into"),
    ):
        take_shards(tmp_path, journal, {})
    with Journal(tmp_path / "other.sqlite") as journal:
        with pytest.raises(HFDistillError, match=r"1-of-3.sqlite was asked for otherwise \(prompts\): go back"):
            collect(journal, teacher, plan_of(5, "{}?"), decoding, shards=tmp_path)
        assert journal.rows() == [] and journal.note("fingerprint") is None


def test_hours_of_a_shard_count_once(tmp_path):
    with Journal(Shard(1, 2).journal(tmp_path), {"prompts": "p"}) as part:
        part.add([Response("q", 0.0, 0, "4")])
        part.set_note("endpoint_seconds", 3.0)
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.set_note("endpoint_seconds", 1.0)
        for _ in range(2):
            take_shards(tmp_path, journal, {"prompts": "p"})
            assert journal.note("endpoint_seconds") == 4.0
