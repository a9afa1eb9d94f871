"""Progress as a person sees it on a terminal, and as a program reads it."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from hfdistill.progress import Progress


FIELDS = {
    "by_temperature": {"0": "25/600", "0.7": "126/3000"},
    "in_flight": {"http://[::1]:8080": "32/32", "http://b": "out, cannot be reached"},
    "refused_share": 0.01234,
}
SHOWN = f"""
from hfdistill.progress import Progress
with Progress("label", 3600, "responses") as progress:
    progress.update(151, **{FIELDS})
"""


def on_a_terminal(code, columns):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 65536):
            written += piece
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0, written
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()).replace("\r", "")


def test_every_figure_is_legible_on_a_narrow_terminal():
    shown = on_a_terminal(SHOWN, 80)
    assert re.search(r"label ━.* 151/3600 responses 0:00:0\d left", shown)
    assert "refused share 0.0123" in shown
    assert re.search(r"by temperature +0 25/600 +0.7 126/3000", shown)
    assert re.search(r"in flight +http://\[::1\]:8080 32/32", shown)
    assert "http://b out, cannot be reached" in shown


def test_without_a_terminal_the_last_line_is_whole(capsys):
    with Progress("label", 3600, "responses", done=100) as progress:
        progress.update(151, **FIELDS)
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"progress": "label", "done": 151, "total": 3600, "unit": "responses", **FIELDS}.items() <= line.items()
    assert line["left_s"] >= line["elapsed_s"]
