"""The sampler against two real `hfdistill serve` processes, one of which is killed and restarted meanwhile."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from hfdistill.teacher.dataset import ResponseRows
from hfdistill.teacher.journal import Journal
from hfdistill.teacher.plan import Grid


sys.path.insert(0, str(Path(__file__).parent))
from sampling_driver import fill, make_plan


ROOT = Path(__file__).parents[2]
PORTS = (18471, 18472)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small Llama that was never trained, with the demo's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from hfdistill.demo.models import tokenizer

    torch.manual_seed(0)
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    folder = tmp_path_factory.mktemp("model")
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture
def serve(model):
    started = []

    def start(port):
        command = [sys.executable, "-m", "hfdistill", "serve", str(model), "--port", str(port), "--dtype", "float64"]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(port):
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"nothing answers on {port}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_replicas_one_killed_and_restarted_give_the_same_dataset_as_one(tmp_path, serve):
    plan, urls = make_plan(40, Grid([0.0, 0.3], 2, [1.0], 2)), [f"http://127.0.0.1:{port}" for port in PORTS]
    first, _ = serve(PORTS[0]), serve(PORTS[1])
    for port in PORTS:
        wait_for(port)

    async def disturb(journal):
        running = asyncio.ensure_future(fill(urls, journal, plan, timeout=120, concurrency=4))
        while sum(journal.counts().values()) < 30:
            await asyncio.sleep(0.02)
        first.kill()
        await asyncio.sleep(1)
        serve(PORTS[0])
        return await running

    with Journal(tmp_path / "two.sqlite") as journal:
        assert asyncio.run(disturb(journal)).missing == 0
        two = list(ResponseRows(journal, plan, "teacher", "tgi"))
        sources = {row.source for row in journal.rows()}
    assert sources == set(urls)
    with Journal(tmp_path / "one.sqlite") as journal:
        assert asyncio.run(fill(urls[1:], journal, plan, timeout=120)).missing == 0
        assert list(ResponseRows(journal, plan, "teacher", "tgi")) == two
    assert len({row["response"] for row in two if row["temperature"] == 1.0}) > 60
