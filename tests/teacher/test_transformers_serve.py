"""Labelling against the real `transformers serve`, which is refused: its temperature does not vary by request."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
TRANSFORMERS = shutil.which("transformers", path=str(Path(sys.executable).parent))
BOUNDS = ("--cb-num-blocks", "64", "--cb-max-batch-tokens", "256")  # it takes most of the memory otherwise
TEXTS = ["Q: What is 1 + 1? A: The answer is 2.", "Tom buys twelve pens and loses five of them."]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
pytest.importorskip("openai", reason="transformers serve needs the package openai")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small Llama that was never trained; its tokenizer is of bytes, since others fail there on stop strings."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS, vocab_size=300, special_tokens=["<s>", "</s>", "<pad>"])
    words = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    folder = tmp_path_factory.mktemp("model")
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@contextlib.contextmanager
def serving(model, log, *options):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [TRANSFORMERS, "serve", str(model), "--host", "127.0.0.1", "--port", str(port), *options]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("options", [(), ("--continuous-batching", *BOUNDS)], ids=["plain", "batching"])
def test_transformers_serve_is_refused_by_name_before_anything_is_bought(tmp_path, model, options):
    with serving(model, tmp_path / "log", *options) as url:
        done = subprocess.run(
            [
                *(sys.executable, str(ROOT / "recipes" / "label_teacher.py"), "--run.name", "run"),
                *("--run.push", "false", "--run.output_dir", str(tmp_path / "run")),
                *("--teacher.model", str(model), "--teacher.endpoints", url, "--max_new_tokens", "16"),
                *("--task.name", "word_problems", "--task.train", "24", "--task.validation", "4", "--task.test", "10"),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"endpoint {url} (transformers serve, openai_completions) cannot vary the temperature" in done.stderr
    assert "Use TGI, vLLM, SGLang, llama.cpp or `hfdistill serve`" in done.stderr
    assert "Traceback" not in done.stderr
