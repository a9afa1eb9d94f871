import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


SPOKEN = "Tom has buys loses finds pens cups now How many ? . : Step The answer is Q A ( ) + - ="
WORDS = ["<pad>", "<s>", "</s>", "<unk>", *SPOKEN.split(), *map(str, range(21))]
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'forbidden' %}{{ raise_exception('no such role') }}{% endif %}"
    "<s> {{ message.role }} : {{ message.content }} {% endfor %}{% if add_generation_prompt %}A :{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
    )


def make_model(folder: Path, *, layers: int = 2, hidden: int = 32, broken: bool = False) -> Path:
    """A small random Llama that says something; `broken` makes one word poison."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    model.lm_head.weight.data *= 12
    if broken:
        model.model.embed_tokens.weight.data[WORDS.index("Tom")] = float("nan")
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def server_environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass
class RunningServer:
    process: subprocess.Popen
    url: str
    log: Path
    client: httpx.Client = field(init=False)

    def __post_init__(self):
        self.client = httpx.Client(base_url=self.url, timeout=180)

    def post(self, path: str, body: object, **options) -> httpx.Response:
        return self.client.post(path, json=body, **options)

    def generate(self, inputs: str, **parameters) -> dict:
        response = self.post("/generate", {"inputs": inputs, "parameters": parameters})
        assert response.status_code == 200, response.text
        return response.json()

    def events(self, path: str, body: object) -> list[dict | str]:
        found = []
        with self.client.stream("POST", path, json=body) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            for line in response.iter_lines():
                if line.startswith("data:"):
                    data = line.removeprefix("data:").strip()
                    found.append(data if data == "[DONE]" else json.loads(data))
        return found

    def load(self) -> dict[str, float]:
        lines = self.client.get("/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def stop(self) -> int:
        self.client.close()
        self.process.terminate()
        return self.process.wait(30)


def start(model: Path | str, *options: object, log: Path, environment: dict[str, str] | None = None) -> RunningServer:
    process = subprocess.Popen(
        [sys.executable, "-m", "hfdistill", "serve", str(model), "--port", "0", *map(str, options)],
        env={**server_environment(), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
    )
    line = process.stdout.readline()
    if not line.startswith("ready: "):
        process.wait()
        raise RuntimeError(f"the server did not start: {log.read_text()}")
    return RunningServer(process, line.split()[1], log)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory):
    """A server that must end well and have written nothing on stderr."""
    running = start(
        model, "--dtype", "float64", "--max_concurrent_requests", 64, log=tmp_path_factory.mktemp("log") / "log"
    )
    yield running
    assert running.stop() == 0
    assert running.log.read_text() == ""


@pytest.fixture
def start_server(tmp_path: Path):
    """Starts servers that end with the test."""
    started: list[RunningServer] = []

    def starting(model: Path | str, *options: object, **arguments) -> RunningServer:
        started.append(start(model, *options, log=tmp_path / f"log{len(started)}", **arguments))
        return started[-1]

    yield starting
    for running in started:
        if running.process.poll() is None:
            running.client.close()
            running.process.kill()
            running.process.wait()


@pytest.fixture(scope="session")
def words() -> list[str]:
    """The vocabulary."""
    return WORDS


@pytest.fixture(scope="session")
def model_maker():
    """Makes models."""
    return make_model


@pytest.fixture(scope="session")
def starting():
    """Starts a server; who calls ends it."""
    return start


@pytest.fixture
def wait_for():
    """Waits for a condition."""
    return _wait_for


def _wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
