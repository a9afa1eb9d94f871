"""What every test shares: no telemetry, no host but this machine, one thread a process."""

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from .kept import kept, make_environment


os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_UPDATE_DOWNLOAD_COUNTS="0",
    GRADIO_ANALYTICS_ENABLED="False",
    TOKENIZERS_PARALLELISM="false",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no finding.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

ROOT = Path(__file__).parents[1]
STAND_IN = ROOT / "tests" / "teacher" / "standin.py"


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """Folder with GSM8K, GSM-Plus and the MMLU-Pro sample: HFDISTILL_DATA, else ../shared/data."""
    folder = Path(os.environ.get("HFDISTILL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "gsm8k_train.jsonl").is_file():
        pytest.skip(f"no benchmark data in {folder}: set HFDISTILL_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """Beginning of the paths of a tiny run's artifacts."""
    folder = tmp_path_factory.mktemp("run")
    environment = {name: value for name, value in os.environ.items() if name != "HF_ENDPOINT"}
    subprocess.run(
        [sys.executable, str(ROOT / "tests" / "spaces" / "tiny_run.py"), str(folder)],
        check=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        timeout=250,
    )
    return str(folder / "artifacts" / "tiny")


@pytest.fixture(scope="session")
def python_with() -> Callable[[str], Path]:
    """An interpreter that has what `requirements/<name>.txt` lists, whose versions do not go together with ours."""

    def made(name: str) -> Path:
        wanted = ROOT / "requirements" / f"{name}.txt"
        version = hashlib.sha256(sys.version.encode() + wanted.read_bytes()).hexdigest()[:12]
        return kept(f"{name}-{version}", partial(make_environment, wanted)) / "bin" / "python"

    return made


class StandIn:
    """A stand-in endpoint in a process of its own."""

    def __init__(self, **settings):
        self.settings = settings
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, str(STAND_IN), json.dumps(self.settings)], stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline())
        self.settings["port"] = self.port  # where it comes back after kill()
        self.url = f"http://127.0.0.1:{self.port}"

    def control(self, **changes):
        request = urllib.request.Request(f"{self.url}/control", data=json.dumps(changes).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def _stand_ins():
    started = []

    def start(**settings):
        started.append(StandIn(**settings))
        return started[-1]

    yield start
    for endpoint in started:
        if endpoint.process.poll() is None:
            endpoint.kill()


@pytest.fixture
def stand_in():
    """Start stand-ins that end with the test."""
    yield from _stand_ins()


@pytest.fixture(scope="module")
def lasting_stand_in():
    """Start stand-ins that end with the module's last test."""
    yield from _stand_ins()
