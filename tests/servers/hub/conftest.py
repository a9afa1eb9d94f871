"""A real Hub in a process of its own, and the table of calls that unmodified clients made of it."""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import CommitOperationAdd, HfApi


ROOT = Path(__file__).parents[3]
COMMAND = (
    "import argparse, sys; from hfdistill.commands import hub; from hfdistill.errors import exit_on_user_error;"
    "parser = argparse.ArgumentParser(); hub.add_parser(parser.add_subparsers()); args = parser.parse_args();"
    "exit_on_user_error(args.func)(args)"
)
TABLES: dict[str, list[dict]] = {}


def environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **changes,
    }


def hub_command(*arguments: object, limits: dict[str, float] | None = None) -> list[str]:
    """`hfdistill hub …`, with other values for constants of the Hub's modules, such as `{"pace.PATIENCE": 2}`."""
    changed = "".join(
        f"from hfdistill.servers.hub import {name.partition('.')[0]}; {name} = {value};"
        for name, value in (limits or {}).items()
    )
    return [sys.executable, "-c", changed + COMMAND, "hub", *map(str, arguments)]


@dataclass
class RunningHub:
    """A served Hub; its access log lies beside its data."""

    url: str
    data: Path
    process: subprocess.Popen
    log: Path
    tokens: dict[str, str] = field(default_factory=dict)

    def requests(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def request(self, method: str, path: str, body=None, headers: dict | None = None) -> tuple[int, dict, bytes]:
        """Status, headers and content of one raw request."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, content

    def create(self, name: str, **more) -> str:
        """Makes the model `sec/<name>`."""
        status, _, content = self.request("POST", "/api/repos/create", {"name": name, "organization": "sec", **more})
        assert status in (200, 409), content
        return f"sec/{name}"

    def commit(self, repo: str, *operations: dict, **header) -> tuple[int, dict, bytes]:
        return self.request("POST", f"/api/models/{repo}/commit/main", self.commit_body(*operations, **header))

    @staticmethod
    def commit_body(*operations: dict, **header) -> bytes:
        lines = [{"key": "header", "value": {"summary": "commit", **header}}, *operations]
        return "\n".join(map(json.dumps, lines)).encode()

    @staticmethod
    def file(path: str, data: bytes = b"x") -> dict:
        """The operation of a commit that adds a file."""
        content = base64.b64encode(data).decode()
        return {"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}

    def memory(self) -> float:
        """Resident megabytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=40)
        self.process.stdout.close()
        return status

    def fsck(self) -> str:
        done = subprocess.run(
            hub_command("fsck", "--data", self.data), env=environment(), capture_output=True, text=True
        )
        return done.stdout + done.stderr


def start(data: Path, host: str = "127.0.0.1", port: int = 0, limits: dict[str, float] | None = None) -> RunningHub:
    log = data.with_name(f"{data.name}.log")
    process = subprocess.Popen(
        hub_command("serve", "--host", host, "--port", port, "--data", data, limits=limits),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=open(log, "a"),  # noqa: SIM115 - the server's own from here on
        text=True,
    )
    line = process.stdout.readline()
    if "HF_ENDPOINT=" not in line:
        process.wait()
        raise RuntimeError(f"the Hub did not start: {log.read_text()}")
    return RunningHub(line.strip().rpartition("=")[2], data, process, log)


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[..., RunningHub]]:
    """Starts Hubs that end with the test."""
    started: list[RunningHub] = []

    def started_hub(data: Path | None = None, **arguments) -> RunningHub:
        started.append(start(data or tmp_path / "hub", **arguments))
        return started[-1]

    yield started_hub
    for hub in started:
        if hub.process.poll() is None:
            hub.kill()


@pytest.fixture
def api(start_hub: Callable[..., RunningHub]) -> HfApi:
    """The client of a Hub of its own, which is `api.running`."""
    running = start_hub()
    api = HfApi(endpoint=running.url, token="any")
    api.running = running
    return api


def push(api: HfApi, repo: str, **files: bytes) -> str:
    api.create_repo(repo, exist_ok=True)
    operations = [CommitOperationAdd(f"{name}.bin", data) for name, data in files.items()]
    return api.create_commit(repo, operations, commit_message="push").oid


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[..., RunningHub]]:
    """Serves a folder for a module's tests; the Hub must end cleanly, without a traceback, and be sound."""
    started: list[RunningHub] = []

    def serve(data: Path, **arguments) -> RunningHub:
        started.append(start(data, **arguments))
        return started[-1]

    yield serve
    for hub in started:
        assert hub.stop() == 0
        assert "no problem found" in hub.fsck()
        assert not [line for line in hub.log.read_text().splitlines() if not line.startswith("{")]


@pytest.fixture(scope="module")
def hub(served: Callable[[Path], RunningHub], tmp_path_factory: pytest.TempPathFactory) -> RunningHub:
    """One open Hub for a module's tests."""
    return served(tmp_path_factory.mktemp("hub") / "data")


@pytest.fixture(scope="module")
def repo(hub: RunningHub) -> str:
    """A model with a README.md of seven bytes."""
    name = hub.create("repo")
    assert hub.commit(name, hub.file("README.md", b"# hello"))[0] == 200
    return name


@pytest.fixture(scope="session")
def client_environment() -> Callable[..., dict[str, str]]:
    """The variables of a process that asks a Hub, with changes."""
    return environment


@pytest.fixture
def run_client() -> Callable[..., list[dict]]:
    """Runs one of the scripts in `clients/`; returns the calls that it reported."""
    return _run_client


@pytest.fixture(scope="session")
def start_command() -> Callable[..., subprocess.Popen]:
    """Starts `hfdistill hub …` and does not wait."""

    def start_it(*arguments: object) -> subprocess.Popen:
        output = subprocess.PIPE
        return subprocess.Popen(hub_command(*arguments), env=environment(), stdout=output, stderr=output, text=True)

    return start_it


@pytest.fixture(scope="session")
def run_command(start_command: Callable[..., subprocess.Popen]) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `hfdistill hub …` to its end."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        process = start_command(*arguments)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    return run


def _run_client(
    script: str,
    hub: RunningHub,
    home: Path,
    xet: bool,
    *arguments: str,
    python: str | Path = sys.executable,
    name: str = "newest client",
) -> list[dict]:
    done = subprocess.run(
        [python, str(Path(__file__).parent / "clients" / script), *arguments],
        env=environment(
            HF_ENDPOINT=hub.url,
            HF_HOME=str(home),
            HF_TOKEN="any",
            HF_UPDATE_DOWNLOAD_COUNTS="0",
            HF_HUB_DISABLE_XET="0" if xet else "1",
        ),
        capture_output=True,
        text=True,
        cwd=home,
        timeout=280,
    )
    calls = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"call"')]
    assert done.returncode == 0 and calls, done.stdout + done.stderr
    TABLES[f"{script.removesuffix('.py')}, {name}, Xet {'on' if xet else 'off'}"] = calls
    return calls


def pytest_terminal_summary(terminalreporter) -> None:
    for title, calls in TABLES.items():
        terminalreporter.section(f"{title}: {sum(call['status'] == 'ok' for call in calls)} of {len(calls)}")
        for call in calls:
            terminalreporter.write_line(f"{call['call']:<58} {call['status']}")
