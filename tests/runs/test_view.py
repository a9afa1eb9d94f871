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
