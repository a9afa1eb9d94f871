"""kill -9 at random moments: nothing acknowledged is lost, nothing in the journal is asked for again."""

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from hfdistill.kinds import LABELS
from hfdistill.labels.sampled import SampledResponses
from hfdistill.rows import write_rows
from hfdistill.teacher.journal import Journal


sys.path.insert(0, str(Path(__file__).parent))
from sampling_driver import fill, make_plan


DRIVER = str(Path(__file__).with_name("sampling_driver.py"))
ALL_FAULTS = {
    "429": 0.05,
    "503": 0.02,
    "500": 0.02,
    "424": 0.02,
    "reset": 0.02,
    "truncated": 0.02,
    "invalid": 0.02,
    "shape": 0.01,
    "type": 0.01,
    "html": 0.01,
    "page": 0.01,
    "large": 0.005,
    "hang": 0.005,
}


def export(path, plan, folder):
    with Journal(path) as journal:
        count = write_rows(folder, LABELS, "responses", SampledResponses(journal, plan, "teacher", "tgi"))
        assert len(list(journal.rows())) == len(plan)
    file = folder / "responses" / "train-00000-of-00001.parquet"
    return count, hashlib.sha256(file.read_bytes()).hexdigest()


def journalled(path, plan):
    prompts = {question.question_id: plan.render(question) for question in plan.questions}
    with Journal(path) as journal:
        return {f"{prompts[row.question_id]}|{row.temperature or 0}|{row.seed}" for row in journal.rows()}


def kill_again_and_again(tmp_path, urls, plan, kills, longest, disturb=lambda kill: None, after=lambda: None):
    rng, path = random.Random(0), tmp_path / "killed.sqlite"
    settings = {"urls": urls, "journal": str(path), "questions": len(plan.questions), "timeout": 5.0}
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = 0
    while True:
        driver = subprocess.Popen(
            [sys.executable, DRIVER, json.dumps(settings)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert driver.stdout.readline() == "sampling\n"
        if done == kills:
            out, _ = driver.communicate()
            assert driver.returncode == 0
            assert json.loads(out)["missing"] == 0
            return path, done
        disturb(done)
        time.sleep(rng.uniform(0.02, longest))
        ended = driver.poll() is not None
        driver.kill()
        driver.communicate()
        assert not ended, f"complete after {done} kills: slow the endpoint down"
        done += 1
        after()


def test_what_is_in_the_journal_survives_and_is_not_asked_for_again(tmp_path, stand_in):
    plan, endpoint = make_plan(30), stand_in(latency=0.05, limit=32, tell_seen=True)
    known = {}

    def after():
        seen = endpoint.control()["seen"]
        rows = journalled(tmp_path / "killed.sqlite", plan)
        assert rows >= known.keys()  # nothing that was there is lost
        assert rows <= seen.keys()  # nothing is there that was not answered
        known.update({key: seen[key] for key in rows - known.keys()})

    path, kills = kill_again_and_again(tmp_path, [endpoint.url], plan, 6, 0.6, after=after)
    assert kills == 6
    assert known
    seen = endpoint.control()["seen"]
    assert {key: seen[key] for key in known} == known
    with Journal(tmp_path / "undisturbed.sqlite") as journal:
        asyncio.run(fill([stand_in().url], journal, plan))
    assert export(path, plan, tmp_path / "a") == export(tmp_path / "undisturbed.sqlite", plan, tmp_path / "b")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_200_kills_under_all_faults_at_once(tmp_path, stand_in):
    plan = make_plan(393)  # 20,043 requests
    endpoints = [stand_in(latency=0.1, limit=32, faults=ALL_FAULTS, fault_seed=seed) for seed in range(2)]

    def disturb(kill):
        if kill % 10 == 9:  # an endpoint vanishes as well, and is back the next time
            endpoints[kill // 10 % 2].kill()
        elif kill % 10 == 0 and kill:
            endpoints[(kill - 1) // 10 % 2].start()

    path, kills = kill_again_and_again(tmp_path, [e.url for e in endpoints], plan, 200, 0.5, disturb)
    assert kills == 200
    with Journal(tmp_path / "undisturbed.sqlite") as journal:
        asyncio.run(fill([stand_in().url], journal, plan))
    assert export(path, plan, tmp_path / "a") == export(tmp_path / "undisturbed.sqlite", plan, tmp_path / "b")


ODD = {"usage_list": {"shape": 0.02}, "half_a_character": {"page": 0.02, "429": 0.02}}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_200_kills_under_limits_by_rate_and_odd_answers(tmp_path, stand_in):
    plan = make_plan(160)  # 8,160 requests: a machine under load lets more through between two kills
    settings = {"kind": "openai", "latency": 0.05, "limit": 8, "rate": 30, "retry_after": "0.3", "tell_seen": True}
    endpoints = [stand_in(odd=odd, faults=faults, **settings) for odd, faults in ODD.items()]
    known = {}

    def seen():
        return sum((Counter(endpoint.control()["seen"]) for endpoint in endpoints), Counter())

    def after():
        answered, rows = seen(), journalled(tmp_path / "killed.sqlite", plan)
        assert rows >= known.keys()  # nothing that was there is lost
        assert rows <= answered.keys()  # nothing is there that was not answered
        known.update({key: answered[key] for key in rows - known.keys()})

    def disturb(kill):
        if kill == 199:  # what is left then is not to take minutes
            for endpoint in endpoints:
                endpoint.control(rate=1000.0)

    path, kills = kill_again_and_again(tmp_path, [e.url for e in endpoints], plan, 200, 0.5, disturb, after)
    assert kills == 200
    answered = seen()
    assert {key: answered[key] for key in known} == known  # nothing was bought again
    with Journal(path) as journal:
        assert {row.status for row in journal.rows()} == {"done"} and len(journal.rows()) == len(plan)
        print(f"{len(known)} rows survived {kills} kills")
