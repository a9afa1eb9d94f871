"""What is shown of dozens of steps."""

import subprocess
import threading
import time

from rich.console import Console

from hfdistill.runs.steps import Running, Step
from hfdistill.runs.view import ROWS, View


def test_of_many_steps_those_at_work_and_their_neighbours_are_shown(capsys):
    steps = [Step(f"step {number}", [], expected=10.0) for number in range(40)]
    view = View("Trial", steps, {}, parallel=2)
    running = {
        name: Running(Step(name, [], expected=10.0), subprocess.Popen(["true"]), threading.Thread(), time.monotonic())
        for name in ("step 20", "step 25")
    }
    done = {f"step {number}": 1.0 for number in (*range(20), 21)}
    view.show(running, done)
    names = [step.name for step in view._shown()]
    assert len(names) == ROWS
    assert names[6:8] == ["step 21", "step 20"] or names.index("step 21") < names.index("step 20")
    assert {"step 20", "step 25", "step 22", "step 23"} <= set(names) and "step 0" not in names
    Console(width=80).print(view._picture())
    out = capsys.readouterr().out
    assert "21 of 40 done, 17 wait" in out
    # 17 steps of 10 s and the rest of two, two at once.
    assert 80 <= view._left() <= 100
    for state in running.values():
        state.process.wait()


def test_all_of_few_steps_are_shown():
    steps = [Step(f"step {number}", []) for number in range(ROWS)]
    assert View("Trial", steps, {})._shown() == steps


def test_at_80_columns_no_column_is_cut_and_a_failed_step_is_shown_as_failed(capsys):
    names = ["warm-up", "warm-up-fail-bought-groups", "PPO-fail-pessimistic-groups"]
    steps = [Step(name, []) for name in names]
    view = View("Trial", steps, {})
    state = Running(steps[1], subprocess.Popen(["true"]), threading.Thread(), time.monotonic() - 70)
    state.progress = {"progress": "warmup", "done": 1234, "total": 51200, "unit": "optimizer steps", "left_s": 3725}
    view.show({names[1]: state}, {names[0]: 3725.0})
    capsys.readouterr()
    for width in (60, 80, 120):
        Console(width=width).print(view._picture())
        out = capsys.readouterr().out
        assert "…" not in out and all(len(line) <= width for line in out.splitlines())
        if width >= 80:
            assert all(name in out for name in names) and "1:02:05 left" in out
    view.fail(names[1])
    view.show({}, {names[0]: 3725.0})
    assert f"{names[1]} failed" in capsys.readouterr().out
    Console(width=80).print(view._picture())
    words = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()[2:]}
    assert words == {names[0]: "done", names[1]: "failed", names[2]: "waits"}
    state.process.wait()
