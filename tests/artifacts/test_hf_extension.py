"""`hf distill …` in the real `hf` command, with a home folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


BIN = Path(sys.executable).parent
pytestmark = pytest.mark.skipif(not (BIN / "hf-distill").is_file(), reason="hfdistill is not installed here")


@pytest.fixture
def run(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HOME": str(tmp_path), "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}

    def run(command: str, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [BIN / command, *words], env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path
        )

    return run


def test_hf_distill(run, tmp_path):
    made = run("hfdistill", "install-hf-extension")
    assert made.returncode == 0, made.stderr
    assert run("hfdistill", "install-hf-extension").returncode == 0
    version = run("hf", "distill", "--version")
    assert version.returncode == 0 and version.stdout.startswith("hfdistill ")
    wrong = run("hf", "distill", "lineage", "me/none")
    assert wrong.returncode == 2 and "error: repository 'me/none' cannot be reached" in wrong.stderr
    listed = run("hf", "extensions", "list")
    assert "hf distill" in listed.stdout and "_pip_/hf-distill" in listed.stdout
    assert "distill" in run("hf", "--help").stdout
    assert run("hf", "extensions", "remove", "distill").returncode == 0
    assert not list(tmp_path.glob(".local/share/hf/extensions/*"))


def test_another_extension_of_that_name_stays(run, tmp_path):
    folder = tmp_path / ".local/share/hf/extensions/hf-distill"
    folder.mkdir(parents=True)
    refused = run("hfdistill", "install-hf-extension")
    assert refused.returncode == 2 and "--force" in refused.stderr
    assert run("hfdistill", "install-hf-extension", "--force").returncode == 0
