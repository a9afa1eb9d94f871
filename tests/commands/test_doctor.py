"""`hfdistill doctor --endpoint`: who serves what, or the reason why nobody does."""

import os
import subprocess
import sys
from pathlib import Path


def doctor(*urls: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "hfdistill", "doctor", "--endpoint", *urls],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=Path(__file__).parents[2],
        env={**clean, "COLUMNS": "300", "HF_TOKEN": "", "HF_HUB_OFFLINE": "1"},
    )


def test_who_serves_what(stand_in):
    tgi, vllm = stand_in(), stand_in(kind="openai", model="org/large")
    done = doctor(tgi.url, f"{vllm.url}/v1/chat/completions")
    assert done.returncode == 0, done.stderr
    assert f"{tgi.url} serves stand-in/teacher at aaaaaaaaaaaa by tgi 3.3.7" in done.stdout
    assert "serves org/large by vllm 0.20.1" in done.stdout
    assert tgi.control()["answered"] == vllm.control()["answered"] == 0


def test_why_an_endpoint_cannot_be_used(stand_in):
    locked = stand_in(token="secret")
    done = doctor("http://127.0.0.1:9", locked.url, stand_in(starting=503).url, "nowhere")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "http://127.0.0.1:9 cannot be reached" in done.stdout
    assert f"endpoint {locked.url} answered 401: unauthorized" in done.stdout
    assert "answered 503: loading" in done.stdout
    assert "'nowhere', which is no URL" in done.stdout
    assert set(locked.control()["tokens"]) == {""}
