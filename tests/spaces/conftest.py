import os
import subprocess
import sys
from pathlib import Path

import pytest

import hfdistill
from hfdistill.space.models import Models
from hfdistill.space.run import ShownRun
from hfdistill.space.settings import Settings


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """Beginning of the paths of a tiny run's artifacts."""
    folder = tmp_path_factory.mktemp("run")
    script = Path(__file__).with_name("tiny_run.py")
    environment = {name: value for name, value in os.environ.items() if name != "HF_ENDPOINT"}
    root = str(Path(hfdistill.__file__).parents[1])
    subprocess.run(
        [sys.executable, str(script), str(folder)], check=True, env={**environment, "PYTHONPATH": root}, timeout=200
    )
    return str(folder / "artifacts" / "tiny")


@pytest.fixture(scope="session")
def run(tiny) -> ShownRun:
    return ShownRun(Settings(tiny))


@pytest.fixture(scope="session")
def models() -> Models:
    return Models()
