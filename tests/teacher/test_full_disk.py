"""A full disk ends a run in one sentence; what was answered is kept, and nothing is bought twice."""

import json
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from hfdistill.teacher.journal import Journal, Response
from hfdistill.teacher.rescue import Rescue


sys.path.insert(0, str(Path(__file__).parent))
from sampling_driver import make_plan


DRIVER = str(Path(__file__).with_name("sampling_driver.py"))


def drive(url, path, largest=resource.RLIM_INFINITY):
    settings = {"urls": [url], "journal": str(path), "questions": 30}
    return subprocess.run(
        [sys.executable, DRIVER, json.dumps(settings)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest, largest)),
    )


def test_a_disk_that_is_full_in_the_middle(tmp_path, stand_in):
    endpoint, path, planned = stand_in(latency=0.02, limit=32), tmp_path / "a.sqlite", len(make_plan(30))
    full = drive(endpoint.url, path, 150_000)
    assert "make room on its disk, and the same command goes on" in full.stderr.splitlines()[-1]
    bought = endpoint.control()["answered"]
    assert 32 < bought < planned
    rescued = Path(f"{path}.rescued").read_text().splitlines()
    with Journal(path) as journal:
        assert sum(journal.counts().values()) + len(rescued) == bought
    done = drive(endpoint.url, path)
    assert json.loads(done.stdout.splitlines()[-1])["missing"] == 0
    seen = endpoint.control()
    assert (seen["answered"], seen["twice"]) == (planned, 0)
    assert {file.name for file in tmp_path.iterdir()} <= {"a.sqlite", "a.sqlite.lock"}


@pytest.mark.parametrize("torn", ["", '{"question_id": "q'])
def test_what_was_rescued_is_taken_in_once(tmp_path, torn):
    response = Response("q", 0.7, 0, "4 \u2028 \n", seed=2**53 - 1)
    with Journal(tmp_path / "a.sqlite") as journal:
        rescue = Rescue(journal)
        rescue.keep([response])
        with Path(f"{journal.path}.rescued").open("a") as file:
            file.write(torn)
        Rescue(journal).close()
        Rescue(journal).close()
        assert journal.rows() == [response]
