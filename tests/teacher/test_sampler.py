import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.labels.sampled import SampledResponses
from hfdistill.sections import TeacherConfig
from hfdistill.teacher.budget import Budget
from hfdistill.teacher.endpoints import Endpoint
from hfdistill.teacher.journal import FAILED, PARKED, Journal
from hfdistill.teacher.plan import Grid
from hfdistill.teacher.transport import Gone


sys.path.insert(0, str(Path(__file__).parent))
from sampling_driver import fill, make_plan


GRID = Grid([0.0, 0.3], 5, [1.0], 5)  # 11 requests a question


def sample(path, urls, plan, **options):
    with Journal(path) as journal:
        return asyncio.run(fill(urls, journal, plan, **options))


def texts(path, plan):
    with Journal(path) as journal:
        return list(SampledResponses(journal, plan, "teacher", "tgi"))


async def until(journal, count):
    """Wait until so many rows are there: a busy machine takes longer, and no fixed time would do."""
    while sum(journal.counts().values()) < count:
        await asyncio.sleep(0.02)


def undisturbed(tmp_path, stand_in, plan):
    path = tmp_path / "undisturbed.sqlite"
    assert sample(path, [stand_in().url], plan).missing == 0
    return texts(path, plan)


def test_everything_is_asked_once_and_kept(tmp_path, stand_in):
    endpoint, plan = stand_in(), make_plan(30, GRID)
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], plan)
    assert (outcome.asked, outcome.missing, outcome.stopped, outcome.refused) == (330, 0, None, 0.0)
    seen = endpoint.control()
    assert (seen["answered"], seen["twice"]) == (330, 0)
    again = sample(tmp_path / "a.sqlite", [endpoint.url], plan)
    assert again.asked == 0
    assert endpoint.control()["answered"] == 330
    rows = texts(tmp_path / "a.sqlite", plan)
    assert len(rows) == 30 * 15  # five copies at temperature 0
    assert len({row["response"] for row in rows}) == 330


def test_a_larger_grid_asks_only_for_what_is_new(tmp_path, stand_in):
    endpoint = stand_in()
    sample(tmp_path / "a.sqlite", [endpoint.url], make_plan(10, Grid([0.0], 5, [0.7], 2)))
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], make_plan(10, Grid([0.0], 5, [0.7, 1.0], 3)))
    assert outcome.asked == 10 * (1 + 3)
    assert endpoint.control()["twice"] == 0


def test_the_limit_of_an_endpoint_is_kept(tmp_path, stand_in):
    endpoint = stand_in(limit=7, latency=0.05)
    sample(tmp_path / "a.sqlite", [endpoint.url], make_plan(10, GRID))
    seen = endpoint.control()
    assert seen["most"] == 7
    assert "429" not in seen["statuses"]


def test_a_limit_that_is_too_high_is_lowered_by_refusals(tmp_path, stand_in):
    endpoint = stand_in(limit=8, told_limit=64, latency=0.01)
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], make_plan(40, GRID))
    assert outcome.missing == 0
    assert outcome.refused > 0


@pytest.mark.parametrize(("retry_after", "concurrency"), [(None, 1), ("0.2", 4)])
def test_an_endpoint_that_counts_requests_is_asked_at_its_pace(tmp_path, stand_in, retry_after, concurrency):
    endpoint, plan = stand_in(rate=40, retry_after=retry_after), make_plan(45, Grid([0.0], 1, [1.0], 4))
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], plan, concurrency=concurrency)
    assert outcome.missing == 0
    assert endpoint.control()["twice"] == 0
    assert outcome.refused < 0.25
    with Journal(tmp_path / "a.sqlite") as journal:
        assert 10 < journal.note(f"tempo of {endpoint.url}") < 100


def test_an_endpoint_that_does_not_come_up_with_its_answers_is_asked_for_fewer_at_once(tmp_path, stand_in):
    endpoint = stand_in(limit=4, told_limit=64, queues=True, latency=0.1)
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], make_plan(20, GRID), timeout=0.9)
    assert outcome.missing == 0
    assert endpoint.control()["most"] == 4


@pytest.mark.parametrize(
    "fault",
    ["429", "503", "500", "424", "reset", "truncated", "invalid", "array", "shape", "null", "type", "html", "page"],
)
def test_a_fault_now_and_then_leaves_no_trace(tmp_path, stand_in, fault):
    plan = make_plan(12, GRID)
    endpoint = stand_in(faults={fault: 0.3})
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], plan)
    assert outcome.missing == 0
    assert endpoint.control()["statuses"][fault] > 0
    assert texts(tmp_path / "a.sqlite", plan) == undisturbed(tmp_path, stand_in, plan)


def test_large_and_late_answers_are_not_taken(tmp_path, stand_in):
    plan = make_plan(6, GRID)
    endpoint = stand_in(faults={"large": 0.1, "hang": 0.1})
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], plan, timeout=0.5)
    assert outcome.missing == 0
    assert texts(tmp_path / "a.sqlite", plan) == undisturbed(tmp_path, stand_in, plan)


def test_what_is_refused_for_good_fails_with_its_reason_and_may_be_asked_again(tmp_path, stand_in):
    endpoint, plan = stand_in(refuse="What is 3 +"), make_plan(6, GRID)
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], plan)
    assert outcome.missing == 11
    with Journal(tmp_path / "a.sqlite") as journal:
        assert {status for _, status in journal.counts()} == {"done", FAILED}
        assert journal.reasons()[0] == (
            "answered 422: Input validation error: `inputs` must have less than 3072 tokens",
            11,
        )
        assert all(sample.text is None for sample in journal.rows() if sample.status == FAILED)
    assert sample(tmp_path / "a.sqlite", [endpoint.url], plan).asked == 0
    endpoint.control(refuse="")
    with Journal(tmp_path / "a.sqlite") as journal:
        journal.retry_failed()
    assert sample(tmp_path / "a.sqlite", [endpoint.url], plan).missing == 0


def test_what_fails_again_and_again_is_parked_and_is_no_empty_string(tmp_path, stand_in):
    endpoint, plan = stand_in(faults={"500": 1.0}), make_plan(1, GRID)
    outcome = sample(tmp_path / "a.sqlite", [endpoint.url], plan, tries=3)
    assert outcome.missing == 11
    with Journal(tmp_path / "a.sqlite") as journal:
        assert {sample.status for sample in journal.rows()} == {PARKED}
        assert {sample.text for sample in journal.rows()} == {None}
        assert "Incomplete generation" in journal.reasons()[0][0]


def test_an_endpoint_that_vanishes_and_returns(tmp_path, stand_in):
    plan, first, second = make_plan(60, GRID), stand_in(latency=0.02, limit=8), stand_in(latency=0.3, limit=8)

    async def disturb(journal):
        running = asyncio.ensure_future(fill([first.url, second.url], journal, plan))
        await until(journal, 30)
        first.kill()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(first.start)
        return await running

    with Journal(tmp_path / "a.sqlite") as journal:
        outcome = asyncio.run(disturb(journal))
    assert outcome.missing == 0
    assert first.control()["answered"] > 20  # it was given work again
    assert texts(tmp_path / "a.sqlite", plan) == undisturbed(tmp_path, stand_in, plan)


def test_an_endpoint_that_is_down_at_the_start_joins_later(tmp_path, stand_in):
    plan, first, second = make_plan(60, GRID), stand_in(latency=0.02, limit=8), stand_in(latency=0.3, limit=8)
    first.kill()

    async def disturb(journal):
        running = asyncio.ensure_future(fill([first.url, second.url], journal, plan))
        await until(journal, 1)
        await asyncio.to_thread(first.start)
        return await running

    with Journal(tmp_path / "a.sqlite") as journal:
        assert asyncio.run(disturb(journal)).missing == 0
    assert first.control()["answered"] > 20


def test_an_endpoint_that_stays_away_ends_the_run_with_its_reason(tmp_path, stand_in):
    endpoint = stand_in(latency=0.02, limit=4)

    async def disturb(journal):
        running = asyncio.ensure_future(fill([endpoint.url], journal, make_plan(60, GRID), patience=3.0))
        await until(journal, 20)
        endpoint.kill()
        return await running

    with Journal(tmp_path / "a.sqlite") as journal:
        with pytest.raises(HFDistillError, match=r"no endpoint has answered for 3 s: .*cannot be reached.*goes on"):
            asyncio.run(disturb(journal))
        assert sum(journal.counts().values()) > 10


def test_a_server_that_answers_pages_to_everybody_parks_nearly_nothing(tmp_path, stand_in):
    endpoint, plan = stand_in(faults={"page": 1.0}), make_plan(60, GRID)
    with pytest.raises(HFDistillError, match=r"'text/html' instead of JSON"):
        sample(tmp_path / "a.sqlite", [endpoint.url], plan, patience=3.0, tries=5)
    with Journal(tmp_path / "a.sqlite") as journal:
        assert sum(journal.counts().values()) < 30


def test_a_model_swapped_behind_the_url_ends_the_run_and_its_responses_are_dropped(tmp_path, stand_in):
    endpoint = stand_in(latency=0.02, limit=4)

    async def disturb(journal):
        running = asyncio.ensure_future(fill([endpoint.url], journal, make_plan(200, GRID), check_every=0.3))
        await until(journal, 300)
        await asyncio.to_thread(endpoint.control, sha="b" * 40, answer="from the other model")
        return await running

    with Journal(tmp_path / "a.sqlite") as journal:
        with pytest.raises(HFDistillError, match=r"serves another model now: model_sha was 'a+' and is 'b+'"):
            asyncio.run(disturb(journal))
        rows = list(journal.rows())
    assert len(rows) > 20
    assert not any(row.text == "from the other model" for row in rows)
    with pytest.raises(HFDistillError, match="model_sha was"):
        sample(tmp_path / "a.sqlite", [endpoint.url], make_plan(200, GRID))


def test_work_goes_to_the_faster_endpoint_and_is_done_once(tmp_path, stand_in):
    slow, fast = stand_in(latency=0.2, limit=4), stand_in(latency=0.01, limit=4)
    assert sample(tmp_path / "a.sqlite", [slow.url, fast.url], make_plan(40, GRID)).missing == 0
    slow, fast = slow.control(), fast.control()
    assert fast["answered"] > slow["answered"]
    assert slow["answered"] + fast["answered"] == 440


def test_max_requests_is_never_exceeded_and_counts_earlier_calls(tmp_path, stand_in):
    endpoint, plan = stand_in(), make_plan(20, GRID)
    for allowed in (50, 120):
        with Journal(tmp_path / "a.sqlite") as journal:
            budget = Budget(journal, TeacherConfig("", max_requests=allowed), 1)
            outcome = asyncio.run(fill([endpoint.url], journal, plan, budget=budget))
        assert "max_requests" in outcome.stopped
        assert outcome.missing == 220 - allowed
        assert endpoint.control()["answered"] == allowed


def test_max_cost_stops_before_more_is_spent(tmp_path, stand_in):
    endpoint, plan = stand_in(), make_plan(60, GRID)
    dear = TeacherConfig("", input_price=0.1, output_price=0.5)
    with Journal(tmp_path / "a.sqlite") as journal:
        budget = Budget(journal, dataclasses.replace(dear, max_cost=0.002), 1)
        outcome = asyncio.run(fill([endpoint.url], journal, plan, budget=budget))
        assert outcome.stopped
        assert 0.001 < budget.cost <= 0.0021
        assert budget.figures()["cost"] == round(budget.cost, 4)
        assert Budget(journal, dear, 1).cost == pytest.approx(budget.cost)


def start_driver(tmp_path, **settings):
    command = [sys.executable, str(Path(__file__).with_name("sampling_driver.py")), json.dumps(settings)]
    driver = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    driver.stdout.readline()
    return driver


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_takes_what_is_in_flight_along(tmp_path, stand_in, number):
    endpoint = stand_in(latency=0.4, limit=16)
    path = tmp_path / "a.sqlite"
    driver = start_driver(tmp_path, urls=[endpoint.url], journal=str(path), questions=50)
    time.sleep(1.0)
    driver.send_signal(number)
    ended = json.loads(driver.communicate(timeout=30)[0])
    assert ended["stopped"] == "interrupted"
    answered = endpoint.control()["answered"]
    assert ended["asked"] == answered >= 16
    with Journal(path) as journal:
        assert sum(journal.counts().values()) == answered


@pytest.mark.parametrize("status", [401, 402])
def test_a_token_refused_from_the_start_ends_the_run_at_once(tmp_path, stand_in, monkeypatch, status):
    async def refuse(*args):
        raise Gone(f"answered {status}: no", status)

    endpoint = stand_in()
    monkeypatch.setattr(Endpoint, "complete", refuse)
    with pytest.raises(HFDistillError, match=f"answered {status}: no: check the URL, the server and its token"):
        sample(tmp_path / "a.sqlite", [endpoint.url], make_plan(20, GRID))
