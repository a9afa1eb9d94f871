"""Processes that were started: written down while they run, known again after a kill, ended with all they began."""

import contextlib
import json
import os
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started, as far as they run."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def interrupt(pid: int, launched: bool) -> None:
    """Send SIGINT, once, to the process that does a step's work, which a launcher (`launched`) started.

    A launcher must not get it: accelerate's ends without waiting, torchrun's gives its workers a time of its own. Of
    several workers the first gets it, and the launcher ends the others when that one has ended.
    """
    started = family(pid)
    workers = [process for process in started[1:] if launched and _is_first(process, pid)]
    for process in workers or started[:1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)


def _is_first(process: psutil.Process, launcher: int) -> bool:
    try:
        return process.ppid() == launcher and process.environ().get("LOCAL_RANK", "0") == "0"
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def end(pid: int, known: Iterable[psutil.Process] = ()) -> None:
    """Kill a step's process, its group and all that they started, wherever that went.

    Args:
        pid (`int`): of the step, the first of its group.
        known (`Iterable[psutil.Process]`, *optional*): what it started, from [`family`] while it ran.
    """
    started = {*known, *family(pid)}
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def end_gently(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Ask processes to end, wait so long, and kill those that did not, and all that they started and left behind."""
    started = [each for process in processes for each in family(process.pid)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(processes, seconds)
    for each in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(started, seconds)


def notes_of(pids: Iterable[int]) -> list[tuple[int, float]]:
    """Processes with their start times, since a number alone may come to mean another; without those that ended."""
    notes = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            notes.append((pid, psutil.Process(pid).create_time()))
    return notes


def known_again(note: Sequence[float]) -> psutil.Process | None:
    """The process of a note, if it runs; one that has ended and waits for its parent to ask how does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(note[0]))
        if _is_of(note, process) and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _is_of(note: Sequence[float], process: psutil.Process) -> bool:
    # Start times are told from the machine's, which moves when its clock is set.
    return abs(process.create_time() - note[1]) < 1


def record_processes(folder: Path, kind: str, pids: Iterable[int]) -> None:
    """Write down the processes that run."""
    path = folder / "processes.json"
    write_json(path, {**read_json(path), kind: notes_of(pids)})


def end_leftovers(folder: Path) -> None:
    """End the processes that an earlier call wrote down and that outlived it."""
    path = folder / "processes.json"
    noted = read_json(path)
    for note in [note for notes in noted.values() for note in notes]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if _is_of(note, psutil.Process(note[0])):  # and what it started, if it has ended itself
                end(note[0])
    if noted:
        write_json(path, {})


def read_json(path: Path) -> dict[str, Any]:
    """An object in a file; empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object into a file, whole or not at all."""
    incoming = path.with_suffix(".incoming")
    incoming.write_text(json.dumps(content, indent=2), encoding="utf-8")
    incoming.replace(path)
