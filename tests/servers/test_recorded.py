"""Processes that were written down: which is known again, and that it ends with all that it started."""

import subprocess
import sys
import time

import psutil

from hfdistill.servers.recorded import end_gently, known_again, notes_of, read_json, write_json


FAMILY = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"


def test_a_process_is_known_by_its_number_and_when_it_began(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(process.stdout.readline()))
    write_json(tmp_path / "notes.json", {"notes": notes_of([process.pid])})
    (note,) = read_json(tmp_path / "notes.json")["notes"]
    assert known_again(note).pid == process.pid
    assert known_again([note[0], note[1] + 0.4]) and not known_again([note[0], note[1] + 2])
    end_gently([psutil.Process(process.pid)], 20)
    assert known_again(note) is None and notes_of([process.pid]) == []
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.stdout.close()


def test_what_ended_and_was_not_asked_how_does_not_run():
    process = subprocess.Popen(["sleep", "600"])
    (note,) = notes_of([process.pid])
    process.kill()
    deadline = time.monotonic() + 20
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
    assert known_again(note) is None
    process.wait()
