"""Clients whose versions do not go together with ours, in environments of their own."""

import contextlib
import hashlib
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

import pytest


REQUIREMENTS = Path(__file__).parents[2] / "requirements"


@pytest.fixture(scope="session")
def python_with() -> Callable[[str], Path]:
    """An interpreter that has what `requirements/<name>.txt` lists, of an environment that is made once and kept."""

    def made(name: str) -> Path:
        wanted = REQUIREMENTS / f"{name}.txt"
        version = hashlib.sha256(sys.version.encode() + wanted.read_bytes()).hexdigest()[:12]
        folder = Path.home() / ".cache" / "hfdistill-tests" / f"{name}-{version}"
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                new = Path(temporary) / "environment"
                venv.create(new, symlinks=True)
                pip = [sys.executable, "-m", "pip", "--python", new, "install", "--quiet", "--requirement", wanted]
                done = subprocess.run(pip, capture_output=True, text=True)
                if done.returncode:
                    pytest.skip(f"{wanted.name} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
                # Whoever made it meanwhile made the same.
                with contextlib.suppress(OSError):
                    new.rename(folder)
        return folder / "bin" / "python"

    return made
