"""What tests make once on a machine and keep for the next time: environments of other packages, a model."""

import contextlib
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

import pytest


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name, which `make` makes where it is not there; the name says which version it is."""
    folder = Path.home() / ".cache" / "hfdistill-tests" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            new = Path(temporary) / "new"
            make(new)
            # Whoever made it meanwhile made the same.
            with contextlib.suppress(OSError):
                new.rename(folder)
    return folder


def install(wanted: Path, *options: str | Path) -> None:
    """Install what a file of requirements lists by pip, or skip the test."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *options, "--requirement", wanted]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{wanted.name} cannot be installed: {done.stderr.strip().splitlines()[-1]}")


def make_environment(wanted: Path, folder: Path) -> None:
    """A virtual environment with what a file of requirements lists."""
    venv.create(folder, symlinks=True)
    install(wanted, "--python", folder)
