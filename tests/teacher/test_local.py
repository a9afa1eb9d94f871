"""Teachers on this machine: stub executables that note how they are called and answer; the real `hfdistill serve`."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest
import yaml

from hfdistill.config import Config, RunConfig, TeacherConfig
from hfdistill.errors import HFDistillError
from hfdistill.labels.config import LabelConfig
from hfdistill.teacher.deploy import use_deployed
from hfdistill.teacher.engines import PROGRAMS, Serving
from hfdistill.teacher.local import (
    check_all_running,
    check_none_up,
    choose_parallel,
    plan,
    serving_here,
    take_down,
    urls_here,
    wait_until_ready,
    write_note,
)

from ..families import for_tokenizer
from ..servers.tgi.conftest import make_tokenizer


STUB = """#!{python} -S
import http.server, json, os, subprocess, sys
words = sys.argv[1:]
with open("{folder}/calls", "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), words, os.environ.get("CUDA_VISIBLE_DEVICES")]) + "\\n")
if "broken" in str(words):
    sys.exit("out of memory, they say")
published = [word for word in words if word.startswith("127.0.0.1:")]
port = published[0].split(":")[1] if published else words[words.index("--port") + 1]
subprocess.Popen(["sleep", "1000"])
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(port)), Answers).serve_forever()
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a machine with these programs and so many GPUs of 80 GB."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def program(name, text):
        (folder / name).write_text(text)
        (folder / name).chmod((folder / name).stat().st_mode | stat.S_IXUSR)

    def making(*names, gpus=0):
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        for name in names:
            program(name, STUB.format(python=sys.executable, folder=folder))
        if gpus:
            program("nvidia-smi", "#!/bin/sh\n" + "echo 81559\n" * gpus)

    making.calls = lambda: [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
    return making


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"0" * 1000)
    return str(folder)


def value_of(words, flag):
    return words[words.index(flag) + 1]


@pytest.mark.parametrize("engine", PROGRAMS)
def test_each_engine_is_started_waited_for_and_ended_with_all_it_started(engine, machine, model, tmp_path):
    machine(PROGRAMS[engine], gpus=4)
    if engine == "llamacpp":
        (tmp_path / "model" / "q4.gguf").write_bytes(b"0" * 1000)
    serving, servers = plan(model, max_total_tokens=512)
    assert (serving.engine, serving.tensor_parallel, servers) == (engine, 1, 4)
    with serving_here(serving, 2, tmp_path / "logs") as teachers:
        wait_until_ready(teachers, 60)
        for teacher in teachers:
            urllib.request.urlopen(f"{teacher.url}/health").close()
        started = [psutil.Process(teacher.process.pid) for teacher in teachers]
        started += [child for process in started for child in process.children()]
        check_all_running(teachers)
    assert len(started) == 4 and not any(process.is_running() for process in started)
    calls = machine.calls()
    assert {program for program, *_ in calls} == {PROGRAMS[engine]}
    assert sorted(visible for *_, visible in calls) == ["0", "1"]
    for _, words, visible in calls:
        text = " ".join(words)
        assert model in text and ("512" in text or "4096" in text)
        if engine == "tgi":
            assert value_of(words, "--gpus") == f'"device={visible}"' and value_of(words, "--num-shard") == "1"
            assert "HF_TOKEN" in words  # by name: its value is in no list of processes


def test_weights_decide_how_many_gpus_share_them(machine, model, tmp_path):
    machine("vllm", gpus=8)
    with (tmp_path / "model" / "model.safetensors").open("r+b") as file:
        file.truncate(141 * 10**9)  # of a 70B model in bf16; the file has holes
    serving, servers = plan(model)
    assert (serving.engine, serving.tensor_parallel, servers) == ("vllm", 4, 2)
    with serving_here(serving, servers, tmp_path) as teachers:
        wait_until_ready(teachers, 60)
    assert sorted(visible for *_, visible in machine.calls()) == ["0,1,2,3", "4,5,6,7"]
    assert {value_of(words, "--tensor-parallel-size") for _, words, _ in machine.calls()} == {"4"}
    with pytest.raises(HFDistillError, match=r"weights are 900 GB, and 2 GPUs of 80 GB leave 120 GB"):
        choose_parallel(900 * 10**9, [80 * 10**9] * 2)
    with pytest.raises(HFDistillError, match="--tensor_parallel 16 is more than the 8 GPUs"):
        plan(model, tensor_parallel=16)
    assert plan(model, replicas=1)[1] == 1
    with pytest.raises(HFDistillError, match="--replicas 3, but this machine holds 2, each on 4 of its 8 GPUs"):
        plan(model, replicas=3)
    with pytest.raises(HFDistillError, match="--tensor_parallel 2, but a server of hfdistill is started on one GPU"):
        plan(model, engine="hfdistill", tensor_parallel=2)


def test_what_is_not_there_is_said(machine, model, tmp_path):
    machine("vllm")
    serving, servers = plan(model)
    assert (serving.engine, servers) == ("hfdistill", 1)  # vLLM needs a GPU
    assert plan(model, replicas=3)[1] == 3
    with pytest.raises(HFDistillError, match="--tensor_parallel 4 is more than the 0 GPUs"):
        plan(model, engine="vllm", tensor_parallel=4)
    with pytest.raises(HFDistillError, match="there is no sglang on PATH"):
        plan(model, engine="sglang")
    with pytest.raises(HFDistillError, match="llama.cpp serves GGUF files, and .* has none"):
        plan(model, engine="llamacpp")
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / "model" / name).write_bytes(b"0")
    with pytest.raises(HFDistillError, match="choose one by --gguf: a.gguf, b.gguf"):
        plan(model, engine="llamacpp")
    (tmp_path / "model" / "model.safetensors").unlink()
    machine("vllm", "llama-server", gpus=1)
    assert plan(model, gguf="b.gguf")[0].gguf == f"{model}/b.gguf"


def test_a_server_that_ends_is_an_error_with_its_last_words_and_ends_the_others(machine, tmp_path):
    machine("vllm")
    last_words = r"vllm ended with status 1. The end of .*\n  out of memory, they say"
    broken = serving_here(Serving("vllm", "broken/model"), 2, tmp_path)
    with pytest.raises(HFDistillError, match=last_words), broken as teachers:
        wait_until_ready(teachers, 60)
    assert not any(psutil.pid_exists(teacher.process.pid) for teacher in teachers)


def test_the_run_finds_them_while_they_are_watched_and_a_crash_leaves_nothing(machine, model, tmp_path):
    machine("vllm")
    run = RunConfig("run", output_dir=str(tmp_path / "run"))
    config = Config(run, {"name": "gsm8k"}, TeacherConfig(model), None, LabelConfig(), {})
    with pytest.raises(HFDistillError, match="run 'run' has no teachers on this machine"):
        take_down(run)
    with serving_here(Serving("vllm", model), 1, tmp_path) as teachers:
        write_note(run, teachers, ready=False)
        assert urls_here(run) == []
        write_note(run, teachers, ready=True)
        assert use_deployed(config).teacher.endpoints == [teachers[0].url]
        with pytest.raises(HFDistillError, match="has teachers on this machine already"):
            check_none_up(run)
        # As if this process had been killed, and its number given to another.
        note = tmp_path / "run" / "teachers.json"
        content = json.loads(note.read_text())
        content["processes"][0][1] -= 100
        note.write_text(json.dumps(content))
        assert urls_here(run) == [] and use_deployed(config).teacher.endpoints == []
        take_down(run)
        assert teachers[0].process.wait(30) is not None and not note.exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "down", "killed"])
def test_hfdistill_serve_really(how, tmp_path):
    folder = tmp_path / "model"
    for_tokenizer("llama3", make_tokenizer()).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    sections = {
        "run": {"name": "run", "output_dir": str(tmp_path / "run"), "push": False},
        "task": {"name": "gsm8k"},
        "teacher": {"model": str(folder)},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(sections))
    command = [sys.executable, "-m", "hfdistill", "teacher"]
    up = subprocess.Popen(
        [*command, "up", str(tmp_path / "run.yaml"), "--engine", "hfdistill", "--replicas", "2"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    told = [up.stdout.readline(), up.stdout.readline()]
    assert told[1].startswith("serving at http://127.0.0.1:"), told
    note = json.loads((tmp_path / "run" / "teachers.json").read_text())
    body = json.dumps({"inputs": "Tom has", "parameters": {"max_new_tokens": 2}}).encode()
    for url in note["urls"]:
        asked = urllib.request.Request(f"{url}/generate", body, {"Content-Type": "application/json"})
        assert "generated_text" in json.loads(urllib.request.urlopen(asked).read())
    started = [psutil.Process(pid) for pid, _ in note["processes"]]
    started += [child for process in started[1:] for child in process.children(recursive=True)]
    assert len(note["urls"]) == 2 and len(started) >= 5
    if how == "killed":
        up.kill()
    elif how == "down":
        subprocess.run([*command, "down", str(tmp_path / "run.yaml")], check=True)
    else:
        up.send_signal(signal.SIGINT)
    assert up.wait(60) == (-signal.SIGKILL if how == "killed" else 0)
    deadline = time.monotonic() + 60
    while any(process.is_running() and process.status() != "zombie" for process in started):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.1)
    assert (tmp_path / "run" / "teachers.json").exists() == (how == "killed")
