"""A real Hub in a process of its own, and Python processes that talk to it, since HF_ENDPOINT is read at import."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
SERVE = "import sys; from hfdistill.servers.hub.app import serve; serve('127.0.0.1', 0, sys.argv[1], access_log=False)"

PREAMBLE = """
import json, os, sys
from pathlib import Path
from huggingface_hub import HfApi
from hfdistill.config import Config, RunConfig, StudentConfig, TeacherConfig
from hfdistill.errors import HFDistillError
from hfdistill.kinds import COMPARE, LABELS, POLICY, RESULTS, REWARD, TRIPLES, WARMUP
from hfdistill.artifacts import cards
from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.references import open_artifact
from hfdistill.artifacts.store import Store
work = Path(os.environ["WORK"])
TASK = {"name": "word_problems", "train": 6, "validation": 2, "test": 2}

def config(name="demo", task=TASK, given=None, **run):
    run = RunConfig(name, output_dir=str(work / "runs" / name), **run)
    teacher = TeacherConfig("demo/teacher", ["http://user:secret@127.0.0.1:1"], license="apache-2.0")
    return Config(run, task, teacher, StudentConfig("demo/base", license="mit"), None, given or {"epochs": 1})

def folder(name, **files):
    place = work / "files" / name
    for path, content in files.items():
        path = place / path.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    place.mkdir(parents=True, exist_ok=True)
    return place

def rows(place, name, rows):
    import pyarrow as pa, pyarrow.parquet as pq
    (place / name).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), place / name / "part-0.parquet")

def publish_chain(settings, **measured):
    '''labels, warmup, triples, reward, policy and results with contents of a few bytes and true parents.'''
    store = Store(settings.run)
    made = {}
    def put(kind, parents, **metrics):
        place = folder(settings.run.name + kind.name)
        if kind.repo_type == "dataset":
            rows(place, "responses", [{"question_id": "a", "response": "The answer is 1.", "label": "correct"}] * 3)
        else:
            (place / "weights.safetensors").write_bytes(kind.name.encode() * 10)
        parents = {role: made[parent] for role, parent in parents.items()}
        content = manifest(kind, settings, parents, metrics, {"seconds": 1.5})
        made[kind.name] = store.publish(place, kind, content, cards.card(kind, content, repo_id=store.name(kind)))
    put(LABELS, {}, **measured)
    put(WARMUP, {"labels": "labels"})
    put(TRIPLES, {"labels": "labels", "warmup": "warmup"})
    put(REWARD, {"triples": "triples", "warmup": "warmup"})
    put(POLICY, {"reward": "reward", "triples": "triples", "warmup": "warmup"},
        test_accuracy={"value": 0.5, "low": 0.4, "high": 0.6, "n": 100})
    put(RESULTS, {"Ours": "policy", "Ours w/o R": "warmup"})
    return made

def said(function, *args, **kwargs):
    '''The user error that a call ends in, or None.'''
    try:
        function(*args, **kwargs)
    except HFDistillError as error:
        return str(error)
"""


@dataclass
class RunningHub:
    """A Hub process: where it listens, its tokens by name, and a folder for what its clients keep."""

    endpoint: str
    tokens: dict[str, str]
    home: Path

    def environment(self, token: str | None = None, **more: str) -> dict[str, str]:
        """Variables for a process that talks to this Hub and to no other."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "ACCELERATE_"))}
        clean |= {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "WORK": str(self.home / "work"),
        }
        if token:
            clean["HF_TOKEN"] = self.tokens[token]
        return clean | more

    def python(self, code: str, token: str | None = None, **more: str):
        """Run code after `PREAMBLE`; what it assigns to `out` comes back, what it printed stands in `printed`."""
        end = '\nprint("\\x00" + json.dumps(out, default=str))\n'
        text = self.clean(PREAMBLE + code + end, ROOT, token, **more)
        printed, _, result = text.rpartition("\x00")
        return json.loads(result), printed

    def clean(self, code: str, cwd: Path, token: str | None = None, **more: str) -> str:
        """Run code as it stands, for example from a folder where hfdistill cannot be imported; returns stdout."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=cwd,
            env=self.environment(token, **more),
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def command(self, *words: str, token: str | None = None, **more: str) -> subprocess.CompletedProcess:
        """Run `hfdistill …`."""
        code = "import sys; from hfdistill.cli import main; main(sys.argv[1:])"
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=ROOT,
            env=self.environment(token, **more),
            capture_output=True,
            text=True,
            timeout=280,
        )


@pytest.fixture(scope="module")
def start_hub(tmp_path_factory) -> Iterator[Callable[..., RunningHub]]:
    """Start Hubs; `tokens` are `{"name": ("user", "role")}`, `members` are `("organisation", "user", "role")`."""
    processes = []

    def start(tokens: dict[str, tuple[str, str]] | None = None, members: tuple = ()) -> RunningHub:
        home = tmp_path_factory.mktemp("hub")
        (home / "work").mkdir()
        made = {}
        if tokens:
            from hfdistill.servers.hub.service import Hub

            hub = Hub(home / "data", True)
            for org, user, role in members:
                hub.accounts.add_member(org, user, role)
            made = {name: hub.accounts.create_token(user, name, role) for name, (user, role) in tokens.items()}
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(home / "data")], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        line = process.stdout.readline()
        assert "HF_ENDPOINT=" in line, line
        return RunningHub(line.strip().rpartition("HF_ENDPOINT=")[2], made, home)

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=40)


@pytest.fixture(scope="module")
def hub(start_hub) -> RunningHub:
    """A Hub without tokens, open to this machine."""
    return start_hub()
