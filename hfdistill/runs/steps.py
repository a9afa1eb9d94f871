"""Run processes that depend on one another: each logged, shown while it works, ended with its parent, resumed."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from .view import View


POLL_SECONDS = 0.1
SECONDS_TO_STOP = 20.0
SECONDS_BETWEEN_NOTES = 2.0


@dataclass(frozen=True)
class Step:
    """One process of a run.

    Attributes:
        name (`str`): its name, which is its log's too.
        command (`Sequence[str]`): what is executed.
        after (`tuple[str, ...]`): steps that must have ended well before.
        expected (`float`): seconds it is likely to take, for the time left of what has not begun.
        inputs (`str`): identity of what it reads besides its command, for example a digest of its configuration.
    """

    name: str
    command: Sequence[str]
    after: tuple[str, ...] = ()
    expected: float = 60.0
    inputs: str = ""


@dataclass
class Running:
    """A step at work: its process, when it began, seconds of earlier tries, and the last progress line it printed."""

    step: Step
    process: subprocess.Popen
    reader: threading.Thread
    started: float
    spent_before: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)


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
        self.finished: dict[str, dict[str, Any]] = _read_json(folder / "steps.json")
        self._spent: dict[str, float] = _read_json(folder / "spent.json")
        self._noted = 0.0
        self._running: dict[str, Running] = {}
        end_leftovers(folder)

    def run(self, steps: Sequence[Step], title: str) -> dict[str, float]:
        """Run all steps.

        Args:
            steps (`Sequence[Step]`): in an order in which none comes before what it waits for.
            title (`str`): shown above them.

        Returns:
            `dict[str, float]`: seconds that each step took, whenever it was run.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: when a step fails, with the end of its log; the others are ended.
        """
        done = {step.name for step in steps if self.is_finished(step)}
        with View(title, steps, done, {name: self.finished[name]["seconds"] for name in done}) as view:
            try:
                while len(done) < len(steps):
                    self._start_ready(steps, done)
                    time.sleep(POLL_SECONDS)
                    self._note_spent()
                    for running in list(self._running.values()):
                        if running.process.poll() is not None:
                            self._finish(running)
                            done.add(running.step.name)
                    view.show(self._running, done, {name: self.finished[name]["seconds"] for name in done})
            except BaseException:
                self.stop()
                raise
        return {step.name: self.finished[step.name]["seconds"] for step in steps}

    def is_finished(self, step: Step) -> bool:
        """Whether the step ended well in an earlier call, with the same command and inputs."""
        earlier = self.finished.get(step.name, {})
        same = earlier.get("command") == list(step.command) and earlier.get("inputs") == step.inputs
        return self.keep_finished and same

    def stop(self) -> None:
        """Ask every running step to stop, and end those that do not."""
        self._note_spent(now=True)
        for running in self._running.values():
            _signal_group(running.process.pid, signal.SIGINT)
        deadline = time.monotonic() + SECONDS_TO_STOP
        for running in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(max(deadline - time.monotonic(), 0.1))
            _signal_group(running.process.pid, signal.SIGKILL)
            running.process.wait()
        self._running.clear()
        record_processes(self.folder, "steps", [])

    def log(self, name: str) -> Path:
        """Where a step's output goes."""
        return self.folder / "logs" / f"{name.replace(' ', '-')}.log"

    def _seconds(self, running: Running) -> float:
        return running.spent_before + time.monotonic() - running.started

    def _note_spent(self, now: bool = False) -> None:
        """Keep the seconds of what runs, so that a killed call's work counts, too."""
        if now or time.monotonic() - self._noted >= SECONDS_BETWEEN_NOTES:
            self._noted = time.monotonic()
            spent = {name: round(self._seconds(running), 1) for name, running in self._running.items()}
            _write_json(self.folder / "spent.json", {**self._spent, **spent})

    def _start_ready(self, steps: Sequence[Step], done: set[str]) -> None:
        for step in steps:
            if len(self._running) >= self.parallel:
                return
            if step.name not in done and step.name not in self._running and done.issuperset(step.after):
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
            env={**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        running = Running(step, process, threading.Thread(), time.monotonic(), self._spent.get(step.name, 0.0))
        running.reader = threading.Thread(target=_read_output, args=(running, self.log(step.name)), daemon=True)
        running.reader.start()
        self._running[step.name] = running
        record_processes(self.folder, "steps", [other.process.pid for other in self._running.values()])

    def _finish(self, running: Running) -> None:
        running.reader.join(timeout=5)
        name = running.step.name
        if running.process.returncode != 0:
            raise HFDistillError(
                f"step {name!r} ended with status {running.process.returncode}. The end of {self.log(name)}:\n  "
                + "\n  ".join(_end_of_log(self.log(name)))
                + "\nThe same command goes on from here."
            )
        del self._running[name]
        record_processes(self.folder, "steps", [other.process.pid for other in self._running.values()])
        seconds = round(self._seconds(running), 1)
        step = running.step
        self._spent.pop(name, None)
        self.finished[name] = {"command": list(step.command), "inputs": step.inputs, "seconds": seconds}
        _write_json(self.folder / "steps.json", self.finished)


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


def _end_of_log(log: Path, count: int = 12) -> list[str]:
    """The last lines of a log, without the launcher's own traceback about the script that failed."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    if lines and lines[-1].startswith("subprocess.CalledProcessError"):
        lines = lines[: max(index for index, line in enumerate(lines) if line.startswith("Traceback"))]
    return lines[-count:]


def record_processes(folder: Path, kind: str, pids: Sequence[int]) -> None:
    """Write down the processes that run, with their start times, since a number alone may come to mean another."""
    import psutil

    path = folder / "processes.json"
    entries = []
    for pid in pids:
        try:
            entries.append([pid, psutil.Process(pid).create_time()])
        except psutil.NoSuchProcess:
            continue
    _write_json(path, {**_read_json(path), kind: entries})


def end_leftovers(folder: Path) -> None:
    """End the processes that an earlier call wrote down and that outlived it."""
    import psutil

    path = folder / "processes.json"
    for pid, created in [entry for entries in _read_json(path).values() for entry in entries]:
        try:
            if abs(psutil.Process(pid).create_time() - created) < 1:
                _signal_group(pid, signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    _write_json(path, {})


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    incoming = path.with_suffix(".incoming")
    incoming.write_text(json.dumps(content, indent=2), encoding="utf-8")
    incoming.replace(path)
