"""`hfdistill demo`, whole: the same figures again, and the same after kill -9 in every stage."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hfdistill.demo.steps import FIRST_SEED
from hfdistill.kinds import STAGES


SCALE = os.environ.get("HFDISTILL_DEMO_SCALE", "0.5")
STEPS = {"label": "label", "warmup": "warm-up", "reward": "reward", "ppo": "PPO", "evaluate": "evaluate"}


def demo(folder: Path) -> list[str]:
    return [sys.executable, "-m", "hfdistill", "demo", "--dir", str(folder), "--scale", SCALE]


def run(folder: Path) -> subprocess.CompletedProcess:
    done = subprocess.run(demo(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def summary(folder: Path) -> dict:
    return json.loads((folder / f"seed-{FIRST_SEED}" / "summary.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder)
    return folder


def recipe_process(call: subprocess.Popen, stage: str) -> psutil.Process | None:
    """The process that runs this stage of the main row, without the launcher above it."""
    for process in psutil.Process(call.pid).children(recursive=True):
        try:
            words = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if len(words) > 1 and words[1].endswith(STAGES[stage].recipe) and "--run.suffix" not in words:
            return process
    return None


def kill_in_the_middle(folder: Path, stage: str, seconds: float) -> None:
    """Start the demo, and kill -9 this stage's process when it has worked for so long."""
    call = subprocess.Popen(demo(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while call.poll() is None:
        process = recipe_process(call, stage)
        if process is not None and time.time() - process.create_time() > seconds:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.2)
    output, _ = call.communicate(timeout=120)
    assert call.returncode == 2, f"{stage} was not killed in the middle\n{output}"
    assert f"step '{STEPS[stage]}' ended with status" in output


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_same_seed_gives_the_same_figures(undisturbed, tmp_path):
    run(tmp_path / "again")
    assert summary(tmp_path / "again")["rows"] == summary(undisturbed)["rows"]
    assert summary(tmp_path / "again")["reward"] == summary(undisturbed)["reward"]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_in_every_stage_it_ends_with_the_same_table(undisturbed, tmp_path):
    folder = tmp_path / "killed"
    for stage, step in STEPS.items():
        kill_in_the_middle(folder, stage, 0.4 * summary(undisturbed)["seconds"][step])
    done = run(folder)
    assert summary(folder)["rows"] == summary(undisturbed)["rows"]
    assert summary(folder)["labels"]["by_temperature"] == summary(undisturbed)["labels"]["by_temperature"]
    assert "Ours" in done.stdout


@pytest.mark.slow
def test_a_finished_demo_says_so_within_seconds(undisturbed):
    started = time.monotonic()
    done = run(undisturbed)
    assert time.monotonic() - started < 10
    assert "is complete" in done.stdout
    assert "Ours w/o R" in done.stdout
    assert (undisturbed / "report.md").read_text().startswith("# What came out")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_table_shares_the_demo_s_steps_and_a_kill_loses_nothing(undisturbed):
    table = [*demo(undisturbed), "--table", "minus"]
    steps = undisturbed / f"seed-{FIRST_SEED}" / "steps.json"
    before = json.loads(steps.read_text())

    # 1. The call itself is killed while its one new policy is trained.
    call = subprocess.Popen(table, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while call.poll() is None and not (process := working(call, "ppo", "-minus")):
        time.sleep(0.2)
    time.sleep(0.3 * before["PPO"]["seconds"])
    call.kill()
    call.communicate()
    assert process.is_running() and "PPO minus" not in json.loads(steps.read_text())

    # 2. The same command ends what is left, goes on, and writes the table and its report.
    done = subprocess.run(table, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not process.is_running()
    after = json.loads(steps.read_text())
    assert after.keys() - before.keys() == {"PPO minus", "evaluate minus"}
    assert all(after[name] == before[name] for name in before)
    content = json.loads((undisturbed / "ablations" / "minus.json").read_text())
    assert content["finished"] and content["rows"][0]["seeds"][str(FIRST_SEED)]["row"] == "Ours"
    assert (undisturbed / "ablations" / "report.html").is_file()

    # 3. Once more does nothing, and says the same.
    started = time.monotonic()
    again = subprocess.run(table, capture_output=True, text=True)
    assert again.returncode == 0 and time.monotonic() - started < 30
    assert "begins" not in again.stdout
    assert json.loads((undisturbed / "ablations" / "minus.json").read_text()) == content


def working(call: subprocess.Popen, stage: str, suffix: str) -> psutil.Process | None:
    """The process that makes a row's artifact, without the launcher above it."""
    for process in psutil.Process(call.pid).children(recursive=True):
        try:
            words = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if len(words) > 1 and words[1].endswith(STAGES[stage].recipe) and suffix in words:
            return process
    return None
