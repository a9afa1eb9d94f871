"""Run steps that depend on one another: each logged, shown while it works, ended with its parent, resumed."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..servers.recorded import end, end_leftovers, family, interrupt, read_json, record_processes, write_json
from ..teacher.sampler import GRACE_SECONDS
from .steps import Running, Step, ended_well
from .view import View


POLL_SECONDS = 0.1
SECONDS_TO_STOP = GRACE_SECONDS + 15.0  # the longest that a stage waits for answers, and then puts them away
SECONDS_BETWEEN_NOTES = 2.0
# Exit statuses: of a mistake that the user can put right, and above this one that of a shell's child that was killed.
USER_ERROR, SIGNALLED = 2, 128


class Runner:
    """Run steps, as many at once as allowed, and remember which ended well.

    A second runner on the same folder first ends what a killed one left running, then skips the steps that ended
    well with the same command.

    Args:
        folder (`Path`): gets `steps.json` (what ended well), `spent.json` (seconds of what did not yet),
            `processes.json` (what runs) and `logs/`.
        environment (`Mapping[str, str]`): variables for every step.
        parallel (`int`, *optional*, defaults to 1): steps at once.
        keep_finished (`bool`, *optional*, defaults to `True`): skip steps that ended well earlier. Without it every
            step is started, and says itself that it has nothing to do.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], parallel: int = 1, keep_finished: bool = True):
        self.folder, self.environment, self.parallel = folder, dict(environment), parallel
        self.keep_finished = keep_finished
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self.finished: dict[str, dict[str, Any]] = read_json(folder / "steps.json")
        self._spent: dict[str, float] = read_json(folder / "spent.json")
        self._noted = 0.0
        self._running: dict[str, Running] = {}
        end_leftovers(folder)

    def run(self, steps: Sequence[Step], title: str) -> dict[str, float]:
        """Run all steps.

        Args:
            steps (`Sequence[Step]`): in an order in which none comes before what it waits for. What it waits for and
                is not among them is taken to be done.
            title (`str`): shown above them.

        Returns:
            `dict[str, float]`: seconds that each step took, whenever it was run.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: when a step fails, with the end of its log; the others are ended.
            [`KeyboardInterrupt`]: after Ctrl-C, when the steps at work have ended or their time is up.
        """
        done = {step.name for step in steps if self.is_finished(step)}
        with View(title, steps, self._in_order(done), self.parallel) as view:
            try:
                while len(done) < len(steps):
                    self._start_ready(steps, done)
                    time.sleep(POLL_SECONDS)
                    self._note_spent()
                    for running in list(self._running.values()):
                        if running.process.poll() is not None:
                            if running.process.returncode != 0:
                                view.fail(running.step.name)
                            self._finish(running)
                            done.add(running.step.name)
                    view.show(self._running, self._in_order(done))
            except KeyboardInterrupt:
                print(
                    f"interrupted: waiting up to {SECONDS_TO_STOP:g} s for {', '.join(self._running) or 'nothing'} to "
                    "put away what was begun; once more ends it at once",
                    file=sys.stderr,
                    flush=True,
                )
                raise
            finally:
                self.stop()
                view.show({}, self._in_order(done))
        return self._took([step.name for step in steps])

    def is_finished(self, step: Step) -> bool:
        """Whether the step ended well in an earlier call, with the same command and inputs."""
        return self.keep_finished and ended_well(step, self.finished)

    def forget(self, names: Iterable[str]) -> None:
        """Run these steps again, though they ended well."""
        for name in names:
            self.finished.pop(name, None)

    def stop(self) -> None:
        """Ask every running step to stop, and end those that do not; a second Ctrl-C ends all at once."""
        self._note_spent(now=True)
        running = list(self._running.values())
        started = [family(each.process.pid) for each in running]
        deadline = time.monotonic() + SECONDS_TO_STOP
        try:
            for each in running:
                interrupt(each.process.pid, each.step.launched)
            for each in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    each.process.wait(max(deadline - time.monotonic(), 0.1))
        finally:
            for each, processes in zip(running, started, strict=True):
                end(each.process.pid, processes)
                each.process.wait()
                each.reader.join(timeout=5)
            self._running.clear()
            self._record()

    def log(self, name: str) -> Path:
        """Where a step's output goes."""
        return self.folder / "logs" / f"{name.replace(' ', '-')}.log"

    def _in_order(self, done: set[str]) -> dict[str, float]:
        """Seconds of steps, in the order in which they ended."""
        return self._took([name for name in self.finished if name in done])

    def _took(self, names: Sequence[str]) -> dict[str, float]:
        return {name: self.finished[name]["seconds"] for name in names}

    def _note_spent(self, now: bool = False) -> None:
        """Keep the seconds of what runs, so that a killed call's work counts, too."""
        if now or time.monotonic() - self._noted >= SECONDS_BETWEEN_NOTES:
            self._noted = time.monotonic()
            spent = {name: round(running.seconds, 1) for name, running in self._running.items()}
            write_json(self.folder / "spent.json", {**self._spent, **spent})

    def _start_ready(self, steps: Sequence[Step], done: set[str]) -> None:
        waiting = {step.name for step in steps} - done
        for step in steps:
            if len(self._running) >= self.parallel:
                return
            if step.name in waiting and step.name not in self._running and waiting.isdisjoint(step.after):
                self._start(step)

    def _start(self, step: Step) -> None:
        process = subprocess.Popen(
            list(step.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Nobody watches the bars of a download in a log.
            env={**os.environ, **self.environment, "PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            start_new_session=True,  # Ctrl-C in the terminal is for the runner, which passes it on once
        )
        running = Running(step, process, threading.Thread(), time.monotonic(), self._spent.get(step.name, 0.0))
        running.reader = threading.Thread(target=_read_output, args=(running, self.log(step.name)), daemon=True)
        running.reader.start()
        self._running[step.name] = running
        self._record()

    def _record(self) -> None:
        record_processes(self.folder, "steps", [running.process.pid for running in self._running.values()])

    def _finish(self, running: Running) -> None:
        running.reader.join(timeout=5)
        step, name = running.step, running.step.name
        if running.process.returncode != 0:
            raise HFDistillError(
                f"step {name!r} ended with status {running.process.returncode}. The end of {self.log(name)}:\n  "
                + "\n  ".join(_end_of_log(self.log(name)))
                + f"\n{_what_next(running.process.returncode)}"
            )
        del self._running[name]
        self._record()
        self._spent.pop(name, None)
        seconds = round(running.seconds, 1)
        self.finished[name] = {"command": list(step.command), "inputs": step.inputs, "seconds": seconds}
        write_json(self.folder / "steps.json", self.finished)


def _read_output(running: Running, log: Path) -> None:
    with log.open("a", encoding="utf-8") as file:
        for line in running.process.stdout:
            if line.startswith('{"progress"'):
                try:
                    running.progress = json.loads(line)
                    continue
                except json.JSONDecodeError:
                    pass
            file.write(line)
            file.flush()


def _what_next(status: int) -> str:
    """What a step's exit status promises of the same command: one that was killed did nothing wrong."""
    if status < 0 or status > SIGNALLED:
        return "It was killed: the same command goes on from here."
    if status == USER_ERROR:
        return "When that is put right, the same command goes on from here."
    return "What ended well before it is kept; the step itself may fail again in the same way."


def _end_of_log(log: Path, count: int = 12) -> list[str]:
    """The last lines of a log, without the launcher's own traceback about the script that failed."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    if lines and lines[-1].startswith("subprocess.CalledProcessError"):
        lines = lines[: max(index for index, line in enumerate(lines) if line.startswith("Traceback"))]
    return lines[-count:]
