"""A run as a job of Hugging Face: what is sent, that a second call starts no second job, and how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hfdistill.config import load_config
from hfdistill.errors import HFDistillError
from hfdistill.labels.config import LabelConfig
from hfdistill.places.jobs import Order, check_order, package_url
from hfdistill.servers.process import free_port


ROOT = Path(__file__).parents[2]
TOKEN, KEY = "hf_a_token_that_nobody_may_see", "sk-a_key_that_nobody_may_see"
SECTIONS = {
    "run": {"name": "trial"},
    "task": {"name": "word_problems", "train": 24, "validation": 4, "test": 10},
    "teacher": {"model": "some/teacher", "endpoints": ["https://teacher.example"], "api_key_env": "TEACHER_KEY"},
    "student": {"model": "some/student"},
}


class Service:
    """Hub and Jobs in a process of their own, and calls of `hfdistill run` against them."""

    def __init__(self, folder: Path):
        self.folder, self.url = folder, f"http://127.0.0.1:{free_port()}"
        (folder / "run.yaml").write_text(yaml.safe_dump(SECTIONS))
        (folder / "hfdistill-0.1.0-py3-none-any.whl").write_bytes(b"a wheel")
        script, port = Path(__file__).with_name("jobs_standin.py"), self.url.rpartition(":")[2]
        self.environment = {
            **os.environ,
            **{"PYTHONPATH": str(ROOT), "HF_ENDPOINT": self.url, "HF_HOME": str(folder / "hf")},
            **{"HF_TOKEN": TOKEN, "TEACHER_KEY": KEY},
        }
        self.process = subprocess.Popen([sys.executable, script, folder / "hub", port], env=self.environment)

    def jobs(self, stage: str = "") -> list[dict]:
        """What was asked for so far; `stage` ends the newest job so."""
        request = urllib.request.Request(f"{self.url}/end?stage={stage}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def start(self, *flags: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "hfdistill", "run", "run.yaml", "--on", "jobs", *flags]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=self.environment, cwd=self.folder, **pipes)


@pytest.fixture
def service(tmp_path) -> Iterator[Service]:
    service = Service(tmp_path)
    deadline = time.monotonic() + 60
    while True:
        try:
            service.jobs()
            break
        except OSError:
            assert service.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    yield service
    service.process.kill()
    service.process.wait()


def read_until(running: subprocess.Popen, text: str) -> str:
    told = ""
    while text not in told:
        line = running.stdout.readline()
        assert line, told
        told += line
    return told


@pytest.mark.slow
def test_a_job_is_started_once_followed_and_left_at_work(service):
    wheel = "hfdistill-0.1.0-py3-none-any.whl"
    flags = ("--package", wheel, "--flavor", "h200x2", "--timeout", "12h", "--to", "ppo", "--set", "run.seed=3")
    running = service.start(*flags)
    told = read_until(running, "line 2")
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "goes on. The same command follows it" in rest and "hf jobs cancel" in rest
    (job,) = service.jobs()
    assert job["command"] == [
        *("uv", "run", "--with", f"hfdistill @ file:///job/{wheel}", "hfdistill"),
        *("run", "/job/configuration", "--from", "label", "--to", "ppo", "--set", "run.seed=3"),
    ]
    assert (job["flavor"], job["timeoutSeconds"]) == ("h200x2", 12 * 3600)
    assert job["secrets"] == {"HF_TOKEN": TOKEN, "TEACHER_KEY": KEY}
    (volume,) = job["volumes"]
    assert (volume["type"], volume["mountPath"]) == ("dataset", "/job")
    written = "".join(path.read_text() for path in (service.folder / "runs" / "trial").glob("*"))
    public = json.dumps({**job, "secrets": None})
    assert not any(secret in text for secret in (TOKEN, KEY) for text in (public, told, rest, written))

    running = service.start(*flags)
    told = read_until(running, "line 2")
    assert "is at work already, and no other is started" in told
    assert len(service.jobs("ERROR")) == 1
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == 2 and "ended as ERROR, out of memory" in rest

    (service.folder / "runs" / "trial" / "job.json").unlink()  # on another machine
    running = service.start(*flags)
    read_until(running, "line 2")
    assert len(service.jobs("COMPLETED")) == 2
    running.communicate(timeout=60)
    assert running.returncode == 0
    running = service.start(*flags)
    told, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and "did this already" in told
    assert len(service.jobs()) == 2


def config(tmp_path, **sections):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**SECTIONS, **sections}))
    return load_config("label", LabelConfig, ["--config", str(path)])


@pytest.mark.parametrize(
    ("sections", "order", "message"),
    [
        ({"run": {"name": "trial", "push": False}}, {}, "run.push is false"),
        ({"student": {"model": "{here}"}}, {}, "which is on this machine: push it"),
        ({"teacher": {"model": "a/b", "endpoints": ["http://localhost:8080"]}}, {}, "names this machine"),
        ({}, {"timeout": "soon"}, "--timeout is 'soon': it reads 90m, 12h or 2d"),
    ],
)
def test_what_a_job_elsewhere_could_not_do_is_refused(tmp_path, sections, order, message):
    sections = yaml.safe_load(yaml.safe_dump(sections).replace("{here}", str(tmp_path)))
    order = Order(str(tmp_path / "run.yaml"), [], "h200", **{"timeout": "1d", **order})
    with pytest.raises(HFDistillError, match=message):
        check_order(config(tmp_path, **sections), order)


@pytest.mark.parametrize(
    ("package", "message"),
    [("https://me:hf_secret@example.com/x.whl", "holds a password"), ("gone.whl", "is no file, and no URL")],
)
def test_a_package_is_a_wheel_or_a_url(package, message):
    with pytest.raises(HFDistillError, match=message) as refused:
        package_url(Order("run.yaml", [], "h200", "1d", package))
    assert "hf_secret" not in str(refused.value)


@pytest.mark.slow
def test_an_installation_from_a_repository_is_the_package(tmp_path):
    source, there = tmp_path / "source", tmp_path / "there"
    for name in ("hfdistill", "recipes", "spaces"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    git = ["git", "-C", str(source), "-c", "user.name=me", "-c", "user.email=me@example.com"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    url = f"git+file://{source}"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(there), url]
    subprocess.run(install, check=True)
    ask = (
        "from hfdistill.places.jobs import Order, package_url; print(package_url(Order('run.yaml', [], 'h200', '1d')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(there)}
    told = subprocess.run([sys.executable, "-c", ask], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert told.stdout.strip() == f"{url}@{commit}", told.stderr


def test_a_package_is_named_where_the_installation_does_not_tell():
    assert package_url(Order("run.yaml", [], "h200", "1d", "git+https://example.com/h.git@1")).startswith("git+")
    with pytest.raises(HFDistillError, match="pip wheel --no-deps"):
        package_url(Order("run.yaml", [], "h200", "1d"))
