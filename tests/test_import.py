"""Importing the package costs next to nothing: what is heavy is imported when it is used."""

import subprocess
import sys
import time

import pytest


HEAVY = ("torch", "transformers", "datasets", "trl", "gradio", "matplotlib", "huggingface_hub")


def test_package_and_command_import_nothing_heavy():
    code = f"import sys, hfdistill, hfdistill.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_takes_less_than_three_tenths_of_a_second():
    code = "import time; t = time.process_time(); import hfdistill, hfdistill.cli; print(time.process_time() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(5)]
    assert min(float(run.stdout) for run in runs) <= 0.3


def test_every_verb_has_its_help_at_once():
    started = time.process_time()
    done = subprocess.run([sys.executable, "-m", "hfdistill", "--help"], capture_output=True, text=True, check=True)
    for verb in ("demo", "run", "label", "serve", "hub", "space", "report"):
        assert f"    {verb}" in done.stdout
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("command", "module", "message"),
    [
        (["hub", "serve"], "nh3", "a Hub of one's own needs nh3: pip install 'hfdistill[hub]'"),
        (["serve", "model"], "starlette", "`hfdistill serve` needs starlette: pip install 'hfdistill[serve]'"),
    ],
)
def test_what_is_not_installed_is_one_sentence(command, module, message):
    code = f"import sys; sys.modules[{module!r}] = None; from hfdistill.cli import main; main({command})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
