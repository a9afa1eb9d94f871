"""Dependent processes: order, logs, what is skipped, what is ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hfdistill.errors import HFDistillError
from hfdistill.runs import view
from hfdistill.runs.runner import Runner
from hfdistill.runs.steps import Step
from hfdistill.servers.recorded import end_leftovers, record_processes


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def append(path: Path, word: str) -> list[str]:
    return python(f"open({str(path)!r}, 'a').write('{word} ')")


def test_steps_run_in_order_and_only_once(tmp_path, capsys):
    seen = tmp_path / "seen"
    steps = [Step("one", append(seen, "one")), Step("two", append(seen, "two"), after=("one",))]
    seconds = Runner(tmp_path / "run", {}).run(steps, "Trial")
    assert list(seconds) == ["one", "two"]
    again = Runner(tmp_path / "run", {}).run(steps, "Trial")
    assert again == seconds
    assert seen.read_text() == "one two "
    assert "2 of 2 steps done before" in capsys.readouterr().out


def test_a_step_waits_only_for_steps_of_the_same_call(tmp_path):
    seen = tmp_path / "seen"
    steps = [Step("two", append(seen, "two"), after=("one",)), Step("three", append(seen, "three"), after=("two",))]
    assert list(Runner(tmp_path / "run", {}).run(steps, "Trial")) == ["two", "three"]
    assert seen.read_text() == "two three "


def test_a_changed_command_or_input_runs_again(tmp_path):
    seen = tmp_path / "seen"
    for step in (
        Step("one", append(seen, "a")),
        Step("one", append(seen, "b")),
        Step("one", append(seen, "b"), inputs="new"),
    ):
        Runner(tmp_path / "run", {}).run([step], "Trial")
    assert seen.read_text() == "a b b "


def test_two_at_once_take_the_time_of_one(tmp_path):
    steps = [Step(name, python("import time; time.sleep(2)")) for name in "ab"]
    started = time.monotonic()
    Runner(tmp_path, {}, parallel=2).run(steps, "Trial")
    assert time.monotonic() - started < 3.9


def test_a_failure_shows_the_end_of_its_log_and_ends_the_others(tmp_path):
    mark = tmp_path / "pid"
    long = python(f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    wrong = python("import time; time.sleep(1); print('error: no such thing'); raise SystemExit(2)")
    with pytest.raises(HFDistillError, match="(?s)step 'wrong' ended with status 2.*no such thing.*goes on"):
        Runner(tmp_path, {}, parallel=2).run([Step("long", long), Step("wrong", wrong)], "Trial")
    assert not psutil.pid_exists(int(mark.read_text()))


def test_progress_lines_are_shown_and_kept_out_of_the_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(view, "SECONDS_BETWEEN_LINES", 0.2)
    line = '{"progress": "label", "done": 3, "total": 9, "unit": "responses", "left_s": 61.0}'
    code = f"import time; print({line!r}, flush=True); print('plain', flush=True); time.sleep(1)"
    runner = Runner(tmp_path, {})
    runner.run([Step("label", python(code))], "Trial")
    assert runner.log("label").read_text() == "plain\n"
    assert "label label 3/9 responses, 1:01 left" in capsys.readouterr().out


def test_the_time_of_an_interrupted_call_counts(tmp_path):
    mark = tmp_path / "mark"
    code = f"import pathlib, sys, time; mark = pathlib.Path({str(mark)!r}); time.sleep(1.5)\n"
    code += "known = mark.exists(); mark.touch(); sys.exit(0 if known else 1)"
    with pytest.raises(HFDistillError):
        Runner(tmp_path / "run", {}).run([Step("one", python(code))], "Trial")
    assert Runner(tmp_path / "run", {}).run([Step("one", python(code))], "Trial")["one"] >= 3.0


def test_what_a_killed_runner_left_is_ended_by_the_next(tmp_path):
    process = subprocess.Popen(python("import time; time.sleep(60)"), start_new_session=True)
    record_processes(tmp_path, "steps", [process.pid])
    end_leftovers(tmp_path)
    assert process.wait(10) == -signal.SIGKILL


def test_a_number_that_came_to_mean_another_process_is_left_alone(tmp_path):
    (tmp_path / "processes.json").write_text(f'{{"steps": [[{os.getpid()}, 1.0]]}}')
    end_leftovers(tmp_path)  # would end this very test
