"""Ctrl-C while steps run: the process that does the work gets it once, and may finish."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hfdistill.runs.stages import ON_CPU
from hfdistill.servers.recorded import end_leftovers


ROOT = Path(__file__).parents[2]
# A runner of one step, as `hfdistill run` is, started by a process of its own so that it can be interrupted.
RUNNER = """
import json, sys
from pathlib import Path
from hfdistill.errors import exit_on_user_error
from hfdistill.runs.runner import Runner
from hfdistill.runs.steps import Step
folder, launched, command = Path(sys.argv[1]), sys.argv[2] == "launched", json.loads(sys.argv[3])
exit_on_user_error(lambda: Runner(folder, {}).run([Step("work", command, launched=launched)], "Trial"))()
"""
# Counts its interruptions and needs a while to put things away, longer than a launcher would wait.
WORK = """
import os, pathlib, signal, sys, time
folder, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
rank = os.environ.get("RANK", "0")
count = 0
def interrupted(number, frame):
    global count
    count += 1
signal.signal(signal.SIGINT, interrupted)
(folder / f"pid-{rank}").write_text(str(os.getpid()))
while not count:
    time.sleep(0.05)
end = time.monotonic() + seconds
while time.monotonic() < end:
    time.sleep(0.05)
(folder / f"ended-{rank}").write_text(str(count))
sys.exit(130)
"""
DDP = ("--config_file", str(ROOT / "recipes" / "accelerate" / "ddp.yaml"), "--num_processes", "2")
LAUNCHERS = {
    "alone": (),
    "simple": ("-m", "accelerate.commands.launch", *ON_CPU),
    "torchrun": ("-m", "accelerate.commands.launch", *DDP, "--mixed_precision", "no", "--main_process_port", "0"),
}


@pytest.fixture
def start(tmp_path):
    """Start the runner on a launcher's script and wait until all of its processes are at work."""
    runners = []

    def begin(launcher: str, seconds: float, ranks: int = 1) -> tuple[subprocess.Popen, list[int]]:
        (tmp_path / "work.py").write_text(WORK)
        command = [sys.executable, *LAUNCHERS[launcher], str(tmp_path / "work.py"), str(tmp_path), str(seconds)]
        kind = "alone" if launcher == "alone" else "launched"
        arguments = [sys.executable, "-c", RUNNER, str(tmp_path / "run"), kind, json.dumps(command)]
        runner = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        runners.append(runner)
        marks = [tmp_path / f"pid-{rank}" for rank in range(ranks)]
        deadline = time.monotonic() + 100
        while not all(mark.is_file() and mark.read_text() for mark in marks):
            assert runner.poll() is None and time.monotonic() < deadline, runner.communicate(timeout=5)
            time.sleep(0.05)
        return runner, [int(mark.read_text()) for mark in marks]

    yield begin
    for runner in runners:
        if runner.poll() is None:
            runner.kill()
            runner.wait()


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody asked for its status yet."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("launcher", ["alone", "simple"])
def test_the_work_gets_it_once_and_may_finish(start, tmp_path, launcher):
    runner, pids = start(launcher, 6)
    runner.send_signal(signal.SIGINT)
    output, _ = runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert (tmp_path / "ended-0").read_text() == "1"
    assert "for work to put away what was begun; once more ends it at once" in output
    assert "the same command goes on from here" in output
    assert gone(pids[0])


def test_of_several_processes_the_first_may_finish_and_none_is_left(start, tmp_path):
    runner, pids = start("torchrun", 6, ranks=2)
    runner.send_signal(signal.SIGINT)
    output, _ = runner.communicate(timeout=80)
    assert runner.returncode == 130, output
    assert (tmp_path / "ended-0").read_text() == "1"
    assert all(map(gone, pids))


@pytest.mark.parametrize("launcher", [pytest.param("simple", marks=pytest.mark.slow), "torchrun"])
def test_the_second_ends_everything_at_once(start, tmp_path, launcher):
    runner, pids = start(launcher, 60, ranks=2 if launcher == "torchrun" else 1)
    runner.send_signal(signal.SIGINT)
    time.sleep(1)
    started = time.monotonic()
    runner.send_signal(signal.SIGINT)
    assert runner.wait(20) == 130
    assert time.monotonic() - started < 10
    assert not (tmp_path / "ended-0").exists()
    assert all(map(gone, pids))


def test_a_killed_runner_leaves_work_that_the_next_one_ends(start, tmp_path):
    runner, pids = start("torchrun", 60, ranks=2)
    runner.kill()
    runner.wait()
    assert all(map(psutil.pid_exists, pids))
    end_leftovers(tmp_path / "run")
    assert all(map(gone, pids))
