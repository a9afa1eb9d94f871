"""Deployment against a loopback stand-in of the Inference Endpoints API, which checks what it is sent."""

import argparse
import dataclasses
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hfdistill.commands import teacher as command
from hfdistill.config import Config, RunConfig, TeacherConfig
from hfdistill.errors import HFDistillError
from hfdistill.labels.config import LabelConfig
from hfdistill.teacher.deploy import (
    Hardware,
    delete,
    deploy,
    endpoint_name,
    existing,
    note_of,
    pause_when_done,
    use_deployed,
)


H100 = Hardware("aws", "us-east-1", "nvidia-h100", "x4")
NOW = "2026-01-01T00:00:00.000Z"


class Service(ThreadingHTTPServer):
    """The part of the API that is used: create, get, pause, resume, delete, for one namespace."""

    def __init__(self, serving_at, fails=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.endpoints, self.created, self.serving_at, self.fails = {}, [], serving_at, fails
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.strip("/").split("/")
        assert parts[:2] == ["endpoint", "tester"], self.path
        assert self.headers["Authorization"] == "Bearer hf_test"
        if len(parts) == 2:
            made = json.loads(body)
            assert set(made) >= {"name", "compute", "model", "provider", "type"}
            assert made["type"] == "authenticated"
            self.server.created.append(made)
            self.server.endpoints[made["name"]] = {
                "name": made["name"],
                "model": {**made["model"], "task": "text-generation"},
                "compute": made["compute"],
                "provider": made["provider"],
                "status": {"state": "pending", "createdAt": NOW, "updatedAt": NOW},
                "healthRoute": "/health",
                "type": "authenticated",
            }
            self.answer(202, self.server.endpoints[made["name"]])
            return
        found = self.server.endpoints[parts[2]]
        found["status"] = {
            "state": {"pause": "paused", "resume": "initializing"}[parts[3]],
            "createdAt": NOW,
            "updatedAt": NOW,
        }
        self.answer(200, found)

    def do_GET(self):
        found = self.server.endpoints.get(self.path.rsplit("/", 1)[1])
        if found is None:
            self.answer(404, {"error": "not found"})
            return
        state = found["status"]["state"]
        following = {"pending": "initializing", "initializing": "failed" if self.server.fails else "running"}
        self.answer(200, found)
        found["status"]["state"] = following.get(state, state)
        if found["status"]["state"] == "running":
            found["status"]["url"] = self.server.serving_at

    def do_DELETE(self):
        self.server.endpoints.pop(self.path.rsplit("/", 1)[1])
        self.answer(200, {})


@pytest.fixture
def service(monkeypatch, stand_in):
    import huggingface_hub.constants

    server = Service(stand_in().url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "INFERENCE_ENDPOINTS_ENDPOINT", address)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def config(tmp_path):
    run = RunConfig("GSM8K llama3.1-8b to 1b and more", namespace="tester", output_dir=str(tmp_path))
    return Config(run, {"name": "gsm8k"}, TeacherConfig("meta-llama/Llama-3.1-8B"), None, LabelConfig(), {})


def test_a_name_is_what_the_service_allows(config):
    name = endpoint_name(config.run)
    assert name == "gsm8k-llama3-1-8b-08071f-teacher"
    assert len(name) <= 32


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
@example("word-problems-long-name-run-one-a", "word-problems-long-name-run-one-b")
@example("gsm8k-llama3.1-8b", "gsm8k-llama3-1-8b")
@example("日本", "ünï")
def test_names_of_two_runs_never_meet(one, other):
    names = [endpoint_name(RunConfig(name)) for name in (one, other)]
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name) for name in names)
    assert (names[0] == names[1]) == (one == other)


def test_deploy_creates_waits_and_notes_the_url(service, config):
    url = deploy(config, H100, refresh_every=1)
    assert url == service.serving_at
    assert use_deployed(config).teacher.endpoints == [url]
    (made,) = service.created
    assert made["compute"]["instanceType"] == "nvidia-h100"
    assert made["compute"]["instanceSize"] == "x4"
    assert made["provider"] == {"region": "us-east-1", "vendor": "aws"}
    assert made["model"]["repository"] == "meta-llama/Llama-3.1-8B"
    image = made["model"]["image"]["custom"]
    assert image["url"].startswith("ghcr.io/huggingface/text-generation-inference:")
    assert image["healthRoute"] == "/health"
    assert made["model"]["env"] == {"MODEL_ID": "/repository", "MAX_TOTAL_TOKENS": "4096", "NUM_SHARD": "4"}


def test_vllm_has_its_own_image_and_arguments(service, config):
    deploy(config, H100, engine="vllm", image="me/vllm:1", max_total_tokens=2048, refresh_every=1)
    (made,) = service.created
    assert made["model"]["image"]["custom"] == {"url": "me/vllm:1", "healthRoute": "/health", "port": 8000}
    told = made["model"]["args"]
    assert told[:6] == ["--model", "/repository", "--max-model-len", "2048", "--tensor-parallel-size", "4"]
    assert told[6:8] == ["--served-model-name", "meta-llama/Llama-3.1-8B"]


def test_other_engines_revision_and_scaling(service, config, monkeypatch):
    deploy(config, H100, engine="sglang", refresh_every=1, tensor_parallel=2, revision="abc", scale_to_zero=15)
    made = service.created[-1]["model"]
    assert made["command"] == ["python3", "-m", "sglang.launch_server"] and made["revision"] == "abc"
    assert made["args"][:6] == ["--model-path", "/repository", "--context-length", "4096", "--tp-size", "2"]
    assert made["image"]["custom"]["port"] == 30000
    assert service.created[-1]["compute"]["scaling"] == {"minReplica": 0, "maxReplica": 1, "scaleToZeroTimeout": 15}
    delete(config.run)
    monkeypatch.setattr("hfdistill.teacher.sizes.files_of", lambda model, revision: {"q4.gguf": 10, "config.json": 1})
    deploy(config, H100, engine="llamacpp", refresh_every=1)
    assert service.created[-1]["model"]["args"][:2] == ["-m", "/repository/q4.gguf"]
    with pytest.raises(HFDistillError, match="unknown engine 'trt'"):
        deploy(config, H100, engine="trt")


def test_an_endpoint_that_differs_is_named_with_its_differences(service, config):
    deploy(config, H100, refresh_every=1)
    small = Hardware("aws", "eu-west-1", "nvidia-h100", "x1")
    told = (
        r"differs from what is asked: environment MAX_TOTAL_TOKENS=4096, MODEL_ID=/repository, NUM_SHARD=4, asked "
        r"MAX_TOTAL_TOKENS=4096, MODEL_ID=/repository, NUM_SHARD=1; region us-east-1, asked eu-west-1; instance size "
        r"x4, asked x1. Ask for what it is, or make it anew"
    )
    with pytest.raises(HFDistillError, match=told):
        deploy(config, small, refresh_every=1)
    other = dataclasses.replace(config, teacher=TeacherConfig("meta-llama/Llama-3.3-70B"))
    with pytest.raises(HFDistillError, match="model meta-llama/Llama-3.1-8B, asked meta-llama/Llama-3.3-70B; image"):
        deploy(other, H100, engine="vllm", refresh_every=1)
    assert len(service.created) == 1


def test_a_second_deployment_wakes_the_first(service, config):
    deploy(config, H100, pause_when_done=True, refresh_every=1)
    assert pause_when_done(config.run)
    assert existing(config.run).status == "paused"
    deploy(config, H100, refresh_every=1)
    assert len(service.created) == 1
    assert existing(config.run).status == "running"
    assert not pause_when_done(config.run)


def test_what_does_not_start_is_one_clear_error_and_is_not_forgotten(service, config):
    service.fails = True
    with pytest.raises(HFDistillError, match=r"did not start: .*failed to deploy.*may cost money"):
        deploy(config, H100, refresh_every=1)
    assert note_of(config.run).is_file()
    assert use_deployed(config).teacher.endpoints == []


def test_a_configured_endpoint_wins(config):
    config.teacher.endpoints.append("http://127.0.0.1:8080")
    note_of(config.run).write_text(json.dumps({"url": "http://elsewhere", "pause_when_done": False}))
    assert use_deployed(config).teacher.endpoints == ["http://127.0.0.1:8080"]


def test_the_command(service, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # ten seconds between two looks
    sections = {
        "run": {"name": "run", "namespace": "tester", "output_dir": str(tmp_path)},
        "task": {"name": "gsm8k"},
        "teacher": {"model": "meta-llama/Llama-3.1-8B"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(sections))

    def run(verb, *options):
        parser = argparse.ArgumentParser()
        command.add_parser(parser.add_subparsers())
        args = parser.parse_args(["teacher", verb, str(tmp_path / "run.yaml"), *options])
        assert args.func(args) is None
        return capsys.readouterr().out

    with pytest.raises(HFDistillError, match="there is no endpoint 'run-teacher'"):
        run("status")
    where = ("--vendor", "azure", "--region", "eastus", "--instance_type", "nvidia-a100", "--instance_size", "x2")
    what = ("--engine", "vllm", "--image", "my/vllm:1", "--max_total_tokens", "512", "--pause_when_done")
    told = run("deploy", *where, *what)
    assert "starting run-teacher on x2 nvidia-a100" in told and "serving at http://127.0.0.1" in told
    (made,) = service.created
    assert made["provider"] == {"region": "eastus", "vendor": "azure"}
    assert (made["compute"]["instanceType"], made["compute"]["instanceSize"]) == ("nvidia-a100", "x2")
    assert made["model"]["image"]["custom"]["url"] == "my/vllm:1"
    assert made["model"]["args"][3] == "512"
    assert json.loads((tmp_path / note_of(RunConfig(**sections["run"])).name).read_text())["pause_when_done"]
    assert "run-teacher: running at" in run("status")
    assert "is paused" in run("pause")
    assert "run-teacher: paused" in run("status")
    assert "is deleted" in run("delete")
    assert service.endpoints == {}
