"""`hfdistill run`: the stages that it starts, and Ctrl-C while the teacher answers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hfdistill.errors import HFDistillError
from hfdistill.kinds import CHAIN
from hfdistill.runs.stages import between, stages
from hfdistill.teacher.journal import Journal


ROOT = Path(__file__).parents[2]
SECTIONS = {
    "run": {"name": "trial", "push": False},
    "task": {"name": "word_problems", "train": 24, "validation": 4, "test": 10},
    "student": {"model": "no/such-student"},
    "label": {"high_samples": 2, "low_temperatures": [0.7, 1.0], "low_samples": 1},
}
REQUESTS = 28 * (1 + 3 * 2 + 2)


def start(folder: Path, url: str, *flags: str, **popen) -> subprocess.Popen:
    sections = {**SECTIONS, "teacher": {"model": "stand-in/teacher", "endpoints": [url]}}
    (folder / "run.yaml").write_text(yaml.safe_dump(sections))
    command = [sys.executable, "-m", "hfdistill", "run", "run.yaml", "--cpu", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **popen
    )


def answers(folder: Path) -> int:
    with Journal(folder / "runs" / "trial" / "label" / "journal.sqlite") as journal:
        return len(list(journal.rows()))


def test_ctrl_c_loses_no_answer_and_the_same_command_goes_on(tmp_path, stand_in):
    endpoint = stand_in(latency=3.0, limit=32)
    running = start(tmp_path, endpoint.url, "--to", "label")
    deadline = time.monotonic() + 100
    while endpoint.control()["most"] < 32:
        assert running.poll() is None and time.monotonic() < deadline, running.communicate()
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=90)
    assert running.returncode == 130, output
    log = (tmp_path / "runs" / "trial" / "logs" / "label.log").read_text()
    assert "interrupted: waiting up to 30 s for 32 answers in flight" in log
    assert "once more ends it at once" in output
    kept, bought = answers(tmp_path), endpoint.control(latency=0.0)["answered"]
    assert kept >= 32

    running = start(tmp_path, endpoint.url, "--to", "label", "--overwrite_edits")
    output, _ = running.communicate(timeout=200)
    assert running.returncode == 0, output
    ended_well = json.loads((tmp_path / "runs" / "trial" / "steps.json").read_text())
    assert "--run.overwrite_edits=true" in ended_well["label"]["command"]
    assert endpoint.control()["answered"] - bought == REQUESTS - kept  # none was lost and bought again
    assert (tmp_path / "runs" / "trial" / "artifacts" / "trial-labels" / "hfdistill.json").is_file()


@pytest.mark.slow
def test_from_a_later_stage_starts_that_stage(tmp_path, stand_in):
    running = start(tmp_path, stand_in().url, "--from", "warmup")
    output, _ = running.communicate(timeout=200)
    assert running.returncode == 2
    assert "step 'warmup' ended with status" in output
    assert "trial-labels" in output  # which the stage misses, since its own stage was not run


def test_the_stages_between_two(capsys):
    assert between("warmup", "ppo") == ["warmup", "reward", "ppo"]
    assert between(*CHAIN[:: len(CHAIN) - 1]) == list(CHAIN)
    with pytest.raises(HFDistillError, match="unknown stage 'warm_up', did you mean 'warmup'"):
        between("warm_up", "ppo")
    with pytest.raises(HFDistillError, match="--from ppo comes after --to label: the order is label, warmup"):
        between("ppo", "label")


def test_every_stage_gets_its_flags_and_labelling_one_process():
    flags = {stage: ["--run.overwrite_edits=true"] for stage in CHAIN} | {"ppo": ["--kl_in", "loss"]}
    steps = stages("run.yaml", CHAIN, flags, ["--config_file", "fsdp.yaml"])
    assert [step.after for step in steps] == [(), ("label",), ("warmup",), ("reward",), ("ppo",)]
    assert all(step.launched for step in steps)
    assert ["fsdp.yaml" in step.command for step in steps] == [False, True, True, True, True]
    assert [step.command[-1] for step in steps] == [*["--run.overwrite_edits=true"] * 3, "loss", flags["evaluate"][0]]
