import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from hfdistill.cli import main


LONG = {"inputs": "Tom has 7", "parameters": {"do_sample": True, "max_new_tokens": 120, "seed": 1}}


@pytest.fixture(scope="module")
def slow_model(model_maker, tmp_path_factory):
    """One that takes its time and never ends a response by itself."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = model_maker(tmp_path_factory.mktemp("slow"), layers=24, hidden=256)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight[2] = 0
        model.lm_head.weight *= 0.1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def crowded(starting, slow_model, tmp_path_factory):
    """A server that takes three requests and decodes two of them."""
    log = tmp_path_factory.mktemp("crowded") / "log"
    running = starting(slow_model, "--max_concurrent_requests", 3, "--max_batch_size", 2, log=log)
    yield running
    assert running.stop() == 0
    assert log.read_text() == ""


def test_more_than_allowed_are_refused_before_validation(crowded, wait_for):
    server = crowded
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(server.post, "/generate", LONG) for _ in range(3)]
        wait_for(lambda: server.load()["tgi_batch_current_size"] == 2 and server.load()["tgi_queue_size"] == 1)
        for body in (LONG, {"inputs": "", "parameters": {"temperature": 0}}):
            refused = server.post("/generate", body)
            assert refused.status_code == 429
            assert refused.json() == {"error": "Model is overloaded", "error_type": "overloaded"}
        assert server.events("/generate_stream", LONG) == [
            {"error": "Model is overloaded", "error_type": "overloaded"}
        ]
        assert server.post("/generate", {"inputs": 5}).status_code == 422
        assert [future.result().status_code for future in running] == [200] * 3
    assert server.post("/generate", LONG).status_code == 200
    assert server.load()['tgi_request_failure{err="overloaded"}'] == 3


def test_who_hangs_up_is_cancelled(crowded, wait_for):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(crowded.url + "/generate", json=LONG, timeout=httpx.Timeout(30, read=0.4))
    hung_up = time.monotonic()
    wait_for(lambda: crowded.load()["tgi_batch_current_size"] == 0)
    cancelled = time.monotonic() - hung_up
    with httpx.stream("POST", crowded.url + "/generate_stream", json=LONG, timeout=60) as response:
        next(response.iter_lines())
        assert crowded.load()["tgi_batch_current_size"] == 1
    wait_for(lambda: crowded.load()["tgi_batch_current_size"] == 0)
    started = time.monotonic()
    assert crowded.post("/generate", LONG).status_code == 200
    assert cancelled < time.monotonic() - started


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_signals_drain(start_server, slow_model, wait_for, number):
    server = start_server(slow_model)
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(server.post, "/generate", LONG)
        stream = pool.submit(server.events, "/generate_stream", LONG)
        wait_for(lambda: server.load()["tgi_batch_current_size"] == 2)
        server.process.send_signal(number)
        assert plain.result().json()["generated_text"] == stream.result()[-1]["generated_text"]
    assert server.process.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url + "/health")
    assert server.log.read_text() == ""


@pytest.mark.slow
def test_a_client_that_stalls_keeps_no_server_from_ending(start_server, model, wait_for):
    server = start_server(model)
    (child,) = _children(server.process.pid)
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    wait_for(lambda: not _runs(child))


def test_when_the_engine_dies_requests_end_and_so_does_the_server(start_server, slow_model, wait_for):
    server = start_server(slow_model)
    (child,) = _children(server.process.pid)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.post, "/generate", LONG)
        wait_for(lambda: server.load()["tgi_batch_current_size"] == 1)
        os.kill(child, signal.SIGKILL)
        response = waiting.result()
    assert response.status_code == 500 and response.json()["error_type"] == "incomplete_generation"
    assert server.process.wait(30) == 2
    assert "the model's process ended with status -9" in server.log.read_text()


def test_the_engine_ends_with_a_killed_server(start_server, model, wait_for):
    server = start_server(model)
    (child,) = _children(server.process.pid)
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not _runs(child))


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def _runs(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_api_key(start_server, model):
    server = start_server(model, "--api_key", "sesame", "--model_id", "org/small", "--device", "cpu")
    body = {"inputs": "Tom", "parameters": {"max_new_tokens": 2}}
    assert server.client.get("/info").json()["model_id"] == "org/small"
    assert server.client.get("/health").status_code == 200
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "sesame"}):
        for path in ("/generate", "/generate_stream", "/", "/v1/completions", "/tokenize"):
            assert server.client.post(path, json=body, headers=headers).status_code == 401
    assert server.client.post("/generate", json=body, headers={"authorization": "Bearer sesame"}).status_code == 200


def test_bounds_of_a_request(start_server, model):
    server = start_server(model, "--max_total_tokens", 20, "--max_input_tokens", 4, "--payload_limit", 300)
    told = server.client.get("/info").json()
    assert (told["max_total_tokens"], told["max_input_tokens"]) == (20, 4)
    few = {"parameters": {"max_new_tokens": 2}}
    assert server.post("/generate", {"inputs": "Tom", **few}).status_code == 200
    assert server.post("/generate", {"inputs": "Tom has Tom has Tom has", **few}).status_code == 422
    assert server.post("/generate", {"inputs": "Tom " * 100, **few}).status_code == 413


def test_a_base_model_has_no_chat(start_server, model, tmp_path):
    base = shutil.copytree(model, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    server = start_server(base)
    assert "no chat template" in server.log.read_text()
    response = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Tom"}]})
    assert response.status_code == 422
    assert response.json() == {"error": "Template error: template not found", "error_type": "template_error"}
    assert server.post("/v1/completions", {"prompt": "Tom", "max_tokens": 2}).status_code == 200


def test_a_broken_request_is_the_model_s_fault(start_server, model_maker, tmp_path):
    server = start_server(model_maker(tmp_path / "broken", broken=True))
    bodies = [
        {"inputs": f"{'Tom' if number == 3 else 'has'} {number}", "parameters": {"max_new_tokens": 1}}
        for number in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: server.post("/generate", body), bodies))
    assert [answer.status_code for answer in answers] == [200] * 3 + [424] + [200] * 4
    assert answers[3].json()["error_type"] == "generation"
    assert answers[3].json()["error"].startswith("Request failed during generation: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing/here"], "no model 'nothing/here'"),
        (["{empty}"], "holds no config.json"),
        (["{model}", "--max_total_tokens", "999"], "beyond the model's 128 positions"),
        (["{model}", "--max_total_tokens", "9", "--max_input_tokens", "9"], "must be below --max_total_tokens 9"),
        (["{model}", "--port", "{taken}"], "cannot listen on"),
        (["{model}", "--port", "99999"], "--port 99999 is not between 0 and 65535"),
        (["{weightless}"], "the model cannot be loaded"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(arguments, message, model, tmp_path, monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (tmp_path / "weightless").mkdir()
        for file in model.iterdir():
            if not file.name.endswith(".safetensors"):
                (tmp_path / "weightless" / file.name).write_bytes(file.read_bytes())
        (tmp_path / "empty").mkdir()
        names = {"model": model, "empty": tmp_path / "empty", "weightless": tmp_path / "weightless"}
        filled = [argument.format(**names, taken=taken.getsockname()[1]) for argument in arguments]
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(SystemExit) as ended:
            main(["serve", *filled])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith("error: ") and message in told and told.count("\n") == 1


def test_concurrent_streams_and_answers_do_not_mix(server):
    results, threads = {}, []

    def one(number: int) -> None:
        parameters = {"do_sample": True, "seed": number, "max_new_tokens": 20}
        if number % 2:
            events = server.events("/generate_stream", {"inputs": "Tom has", "parameters": parameters})
            results[number] = events[-1]["generated_text"]
        else:
            results[number] = server.generate("Tom has", **parameters)["generated_text"]

    for number in range(8):
        threads.append(threading.Thread(target=one, args=(number,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    expected = {
        number: server.generate("Tom has", do_sample=True, seed=number, max_new_tokens=20) for number in range(8)
    }
    assert results == {number: response["generated_text"] for number, response in expected.items()}
