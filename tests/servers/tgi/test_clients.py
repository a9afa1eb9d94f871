import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError, ValidationError


QUESTION = [{"role": "Q", "content": "How many pens ?"}]


def test_inference_client_generates(server):
    client = InferenceClient(f"{server.url}/generate", token="unused")
    expected = server.generate("Tom has 7", max_new_tokens=8, do_sample=True, seed=4, details=True)
    options = {"max_new_tokens": 8, "do_sample": True, "seed": 4}
    assert client.text_generation("Tom has 7", **options) == expected["generated_text"]
    detailed = client.text_generation("Tom has 7", details=True, **options)
    assert detailed.details.finish_reason == expected["details"]["finish_reason"]
    assert [token.id for token in detailed.details.tokens] == [token["id"] for token in expected["details"]["tokens"]]


def test_inference_client_streams(server):
    client = InferenceClient(server.url, token="unused")
    expected = server.generate("Tom has 7", max_new_tokens=8, do_sample=True, seed=4)["generated_text"]
    stream = client.text_generation("Tom has 7", max_new_tokens=8, do_sample=True, seed=4, stream=True, details=True)
    events = list(stream)
    assert events[-1].generated_text == expected
    assert "".join(event.token.text for event in events if not event.token.special) == expected


def test_inference_client_chats(server):
    client = InferenceClient(server.url, token="unused")
    answer = client.chat_completion(QUESTION, max_tokens=6, temperature=0)
    chunks = list(client.chat_completion(QUESTION, max_tokens=6, temperature=0, stream=True))
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == answer.choices[0].message.content
    assert answer.usage.completion_tokens == len(chunks) - 1


def test_inference_client_tells_refusals(server):
    client = InferenceClient(f"{server.url}/generate", token="unused")
    with pytest.raises((ValidationError, HfHubHTTPError), match="max_new_tokens"):
        client.text_generation("Tom", max_new_tokens=500)


def test_async_inference_client(server):
    async def many() -> list[str]:
        async with AsyncInferenceClient(f"{server.url}/generate", token="unused") as client:
            asked = (
                client.text_generation(f"Tom has {seed % 20}", max_new_tokens=9, do_sample=True, seed=seed)
                for seed in range(40)
            )
            return await asyncio.gather(*asked)

    expected = [
        server.generate(f"Tom has {seed % 20}", max_new_tokens=9, do_sample=True, seed=seed)["generated_text"]
        for seed in range(40)
    ]
    assert asyncio.run(many()) == expected


def test_openai_package(server):
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0)
    name = client.models.list().data[0].id
    answer = client.chat.completions.create(model=name, messages=QUESTION, max_tokens=6, seed=2)
    stream = client.chat.completions.create(
        model=name, messages=QUESTION, max_tokens=6, seed=2, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
    assert text == answer.choices[0].message.content
    assert chunks[-1].usage == answer.usage
    plain = client.completions.create(model=name, prompt="Tom has 7", max_tokens=5, temperature=0)
    assert plain.choices[0].text == server.generate("Tom has 7", max_new_tokens=5)["generated_text"]
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.completions.create(model=name, prompt="Tom", top_p=1.5)
    assert "top_p" in refused.value.response.json()["error"]


@pytest.fixture(scope="session")
def text_generation_python(python_with) -> Path | str:
    """An interpreter that has `text-generation==0.7.0`, which does not go together with our huggingface_hub:
    HFDISTILL_TEXT_GENERATION_PYTHON, else of an environment that is made once and kept.
    """
    return os.environ.get("HFDISTILL_TEXT_GENERATION_PYTHON") or python_with("text-generation")


def test_text_generation_client(server, text_generation_python):
    script = Path(__file__).parent / "clients" / "text_generation_client.py"
    done = subprocess.run(
        [text_generation_python, script, server.url],
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    expected = server.generate("Tom has 7", max_new_tokens=6, do_sample=True, seed=4, details=True)
    tokens = [token["id"] for token in expected["details"]["tokens"]]
    assert got["text"] == got["streamed"] == expected["generated_text"]
    assert got["tokens"] == got["streamed_tokens"] == tokens
    assert (got["reason"], got["seed"]) == (expected["details"]["finish_reason"], 4)
    assert len(got["prefill"]) == 4 and got["sequences"] == 1 and got["chat"]
    assert "`inputs` tokens + `max_new_tokens` must be <= 128" in got["refused"]
    assert got["many"] == [
        server.generate("Tom has", max_new_tokens=5, do_sample=True, seed=seed)["generated_text"] for seed in range(8)
    ]
