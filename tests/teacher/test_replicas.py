"""The labelling recipe against two real `hfdistill serve` processes, one of them killed and restarted meanwhile."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hfdistill.teacher.journal import Journal


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


def label(folder, questions, urls, judge):
    """Start the labelling recipe; its artifact is a folder."""
    folder.mkdir()
    judging = {"endpoint": judge, "model": "stand-in/teacher", "verdicts": 1}
    command = [
        *(sys.executable, str(ROOT / "recipes" / "label_teacher.py"), "--run.name", "run", "--run.push", "false"),
        *("--teacher.model", "tiny/teacher", "--teacher.endpoints", *urls, "--teacher.concurrency", "4"),
        *("--task.name", "generic", "--task.path", str(questions), "--task.answer", "open", "--max_new_tokens", "64"),
        *("--labeler", "llm_judge", "--labeler_options", json.dumps(judging)),
        *("--high_temperatures", "0", "0.3", "--high_samples", "2", "--low_temperatures", "1", "--low_samples", "2"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def ended(process):
    errors = process.communicate()[1]
    assert process.returncode == 0, errors


def answered(folder):
    """Rows so far, read beside the process that writes them."""
    with contextlib.closing(sqlite3.connect(folder / "runs" / "run" / "label" / "journal.sqlite")) as journal:
        return journal.execute("SELECT COUNT(*) FROM samples").fetchone()[0]


def responses(folder):
    return next((folder / "runs" / "run" / "artifacts" / "run-labels" / "responses").glob("*.parquet"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_replicas_one_killed_and_restarted_give_the_same_dataset_as_one(tmp_path, serve, stand_in):
    questions, urls = tmp_path / "questions.jsonl", [f"http://127.0.0.1:{port}" for port in PORTS]
    questions.write_text("".join(json.dumps({"question": f"What is {i} + 1 ?"}) + "\n" for i in range(40)))
    judge = stand_in(kind="openai", answer="Verdict: yes").url
    first, _ = serve(PORTS[0]), serve(PORTS[1])
    for port in PORTS:
        wait_for(port)

    labelling, count = label(tmp_path / "two", questions, urls, judge), 0
    while count < 30:
        assert labelling.poll() is None, labelling.communicate()[1]
        time.sleep(0.05)
        with contextlib.suppress(sqlite3.OperationalError):  # not made yet
            count = answered(tmp_path / "two")
    first.kill()
    time.sleep(1)
    serve(PORTS[0])
    ended(labelling)
    with Journal(tmp_path / "two" / "runs" / "run" / "label" / "journal.sqlite") as journal:
        assert {row.source for row in journal.rows()} == set(urls)

    ended(label(tmp_path / "one", questions, urls[1:], judge))
    assert responses(tmp_path / "two").read_bytes() == responses(tmp_path / "one").read_bytes()
    rows = pq.read_table(responses(tmp_path / "one")).to_pylist()
    assert len({row["response"] for row in rows if row["temperature"] == 1.0}) > 60
