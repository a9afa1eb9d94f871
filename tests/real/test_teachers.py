"""Labelling by engines and a gateway as they are released: llama.cpp's server and llama-cpp-python's with SmolLM2, and
LiteLLM in front of `hfdistill serve` with a model that is trained here. `transformers serve`, which is refused, has
tests/teacher/test_transformers_serve.py.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import yaml
from transformers import AutoTokenizer

from hfdistill.demo.models import STUDENT, train
from hfdistill.rows import read_rows
from hfdistill.servers.process import END_SECONDS, ServerProcess, answers, check_running, free_port
from hfdistill.servers.recorded import end_gently
from hfdistill.teacher.protocols import NEUTRAL, OF_ANY_ENGINE

from .additions import TASK, write_questions
from .recorder import Recorder


pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
GRID = {
    "high_temperatures": [0, 0.5],
    "high_samples": 2,
    "low_temperatures": [1.0],
    "low_samples": 2,
    "threshold": 0.4,
    "max_questions": 3,
}
QUESTIONS = 4  # one of validation
ROWS = QUESTIONS * 6  # the greedy response stands for both of its samples
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GATEWAY_KEY": f"sk-{uuid4().hex}"}
PROBLEMS = {"name": "word_problems", "train": 8, "validation": 2, "test": 2}
LITELLM = "from litellm import run_server; run_server()"


def write_run(folder: Path, model: str, task: dict, shots: int) -> None:
    sections = {
        "run": {"name": "run", "push": False, "output_dir": "run"},
        "task": task,
        "teacher": {"model": model, "shots": shots},
        "label": GRID,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(sections))


def write_additions(folder: Path) -> None:
    write_questions(folder / "questions")
    write_run(folder, "smollm2", {**TASK, "path": "questions"}, 2)


def label(folder: Path, name: str, *flags: str) -> tuple[list[dict], str]:
    """Label, and look at what no run may lack; returns the responses and what was printed."""
    command = [sys.executable, str(ROOT / "recipes" / "label_teacher.py"), "--config", "run.yaml"]
    command += ["--run.name", name, "--run.output_dir", name, *flags]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    rows = read_rows(folder / name / "artifacts" / f"{name}-labels", "responses")
    assert len({(row["question_id"], row["temperature"], row["sample"]) for row in rows}) == len(rows) == ROWS
    reasons = {row["finish_reason"] for row in rows}
    assert reasons <= {"stop", "stop_sequence", "eos_token", "length"} and reasons != {"length"}
    assert all(row["completion_tokens"] and row["prompt_tokens"] for row in rows)
    greedy, warm = ([row for row in rows if (row["temperature"] == 0) == at] for at in (True, False))
    assert all(row["answer"] for row in greedy)
    assert len({row["response"] for row in greedy}) < len({row["response"] for row in warm})
    return rows, done.stdout


def check_greedy(recorder: Recorder, neutral: dict[str, float]) -> None:
    """Each question was asked at temperature 0 with just these settings and without a seed."""
    asked = set()
    for body in recorder.answered:
        if body["temperature"] == 0 and neutral.items() == {(k, v) for k, v in body.items() if k in OF_ANY_ENGINE}:
            assert "seed" not in body
            asked.add(json.dumps(body.get("prompt") or body["messages"]))
    assert len(asked) == QUESTIONS


@contextlib.contextmanager
def running(command: list, url: str, health: str, log: Path, **environment: str):
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, "PYTHONPATH": "", **environment},
            start_new_session=True,
        )
    try:
        while not answers(url + health):
            check_running(process, str(command[0]), log)
        yield url
    finally:
        if process.poll() is None:
            end_gently([psutil.Process(process.pid)], END_SECONDS)
        process.wait()


@pytest.fixture(scope="module")
def llama_server(gguf, python_with, tmp_path_factory):
    """Folder of a run whose teacher `hfdistill teacher up` serves by llama.cpp, and where."""
    folder = tmp_path_factory.mktemp("llama")
    write_additions(folder)
    (folder / "smollm2").mkdir()
    (folder / "smollm2" / gguf.name).symlink_to(gguf)
    path = os.environ["PATH"]
    if shutil.which("llama-server") is None:
        program = folder / "bin" / "llama-server"
        program.parent.mkdir()
        script = Path(__file__).with_name("llama_server.py")
        program.write_text(f'#!/bin/sh\nexec {python_with("xllamacpp")} {script} "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}:{path}"
    up = subprocess.Popen(
        [sys.executable, "-m", "hfdistill", "teacher", "up", "run.yaml", "--max_total_tokens", "512"],
        cwd=folder,
        env={**ENVIRONMENT, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told = [up.stdout.readline(), up.stdout.readline()]
        assert "llamacpp" in told[0] and told[1].startswith("serving at http://127.0.0.1:"), told
        yield folder, json.loads((folder / "run" / "teachers.json").read_text())["urls"][0]
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0


def test_llama_cpp_as_teacher_up_serves_it(llama_server):
    folder, url = llama_server
    rows, told = label(folder, "run")
    assert {(row["model"], row["endpoint_kind"]) for row in rows} == {("smollm2", "openai_completions")}
    assert "answers by llama.cpp" in told and '/8"' in told  # as many at once as it has slots
    with urllib.request.urlopen(f"{url}/slots") as answer:
        used = [slot["params"] for slot in json.load(answer) if "params" in slot]
    assert used
    for name, value in NEUTRAL["llama.cpp"].items():
        assert {params[name] for params in used} == {value}


def test_llama_cpp_in_conversations(llama_server):
    folder, url = llama_server
    with Recorder(url) as recorder:
        rows, _ = label(folder, "chat", "--teacher.endpoints", recorder.url, "--teacher.chat", "true")
    assert {(row["model"], row["endpoint_kind"]) for row in rows} == {("smollm2", "openai_chat")}
    check_greedy(recorder, NEUTRAL["llama.cpp"])


def test_llama_cpp_python(gguf, python_with, tmp_path):
    write_additions(tmp_path)
    port = free_port()
    command = [python_with("llama-cpp-python"), "-m", "llama_cpp.server", "--model", gguf, "--model_alias", "smollm2"]
    command += ["--n_ctx", "1024", "--n_threads", "1", "--host", "127.0.0.1", "--port", str(port)]
    with (
        running(command, f"http://127.0.0.1:{port}", "/v1/models", tmp_path / "log") as url,
        Recorder(url) as recorder,
    ):
        rows, told = label(tmp_path, "run", "--teacher.endpoints", recorder.url)
    assert {(row["model"], row["endpoint_kind"]) for row in rows} == {("smollm2", "openai_completions")}
    assert "top_k 0" in told  # it answers -1 by a 500
    check_greedy(recorder, {**OF_ANY_ENGINE, "top_k": 0})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """`hfdistill serve` with a model that solves the demo's problems step by step, about as well as it can."""
    folder = tmp_path_factory.mktemp("tiny")
    train(replace(STUDENT, hasty=(0.0, 0.0), solutions=3000), 0, folder / "model", "student")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    tokenizer.save_pretrained(folder / "model")
    url = f"http://127.0.0.1:{free_port()}"
    arguments = ["serve", str(folder / "model"), "--port", url.rpartition(":")[2]]
    with ServerProcess(arguments, url, "/health", folder / "log"):
        yield url


@pytest.fixture(scope="module")
def litellm(tiny, python_with, tmp_path_factory):
    """LiteLLM in front of it, and what it asks there."""
    folder, port = tmp_path_factory.mktemp("litellm"), free_port()
    with Recorder(tiny) as recorder:
        models = {
            name: {"model": f"{provider}/tiny", "api_base": f"{recorder.url}/v1", "api_key": "none"}
            for name, provider in (("in-text", "text-completion-openai"), ("in-chat", "hosted_vllm"))
        }
        through = {"path": "/tgi", "target": recorder.url, "include_subpath": True}
        config = {
            "litellm_settings": {"num_retries": 0},
            "model_list": [{"model_name": name, "litellm_params": params} for name, params in models.items()],
            "general_settings": {"pass_through_endpoints": [through]},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        command = [python_with("litellm"), "-c", LITELLM, "--config", folder / "config.yaml"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": ENVIRONMENT["GATEWAY_KEY"]}
        with running(command, f"http://127.0.0.1:{port}", "/health/liveliness", folder / "log", **local) as url:
            yield url, recorder


@pytest.mark.parametrize("chat", [False, True], ids=["completions", "chat"])
def test_litellm_in_front_of_hfdistill_serve(chat, litellm, tmp_path):
    url, recorder = litellm
    recorder.answered.clear()
    name = "in-chat" if chat else "in-text"
    write_run(tmp_path, "demo/tiny", PROBLEMS, 0)
    flags = ("--teacher.endpoints", url, "--teacher.served_model", name, "--teacher.chat", str(chat).lower())
    flags += ("--teacher.api_key_env", "GATEWAY_KEY")
    rows, _ = label(tmp_path, "run", *flags)
    kind = "openai_chat" if chat else "openai_completions"
    assert {(row["model"], row["endpoint_kind"]) for row in rows} == {("demo/tiny", kind)}
    check_greedy(recorder, OF_ANY_ENGINE)


def test_tgi_behind_litellm(litellm, tmp_path):
    url, recorder = litellm
    recorder.answered.clear()
    write_run(tmp_path, "demo/tiny", PROBLEMS, 0)
    flags = ("--teacher.endpoints", f"{url}/tgi", "--teacher.kind", "tgi", "--teacher.api_key_env", "GATEWAY_KEY")
    rows, _ = label(tmp_path, "run", *flags)
    assert {row["endpoint_kind"] for row in rows} == {"tgi"}
    greedy = [body for body in recorder.answered if body["parameters"].get("do_sample") is False]
    assert len({body["inputs"] for body in greedy}) == QUESTIONS
    assert all(body["parameters"].keys() <= {"do_sample", "max_new_tokens", "details", "stop"} for body in greedy)
