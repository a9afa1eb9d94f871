from concurrent.futures import ThreadPoolExecutor

import pytest


QUESTION = [{"role": "Q", "content": "How many pens has Tom ?"}]


def chat(server, **body):
    response = server.post("/v1/chat/completions", {"messages": QUESTION, "max_tokens": 6, **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_chat(server):
    body = chat(server, temperature=0)
    (choice,) = body["choices"]
    assert body["object"] == "chat.completion"
    assert choice["message"]["role"] == "assistant" and choice["finish_reason"] in ("stop", "length")
    # The template's own first token is not put there twice.
    assert body["usage"]["prompt_tokens"] == len(["<s>", "Q", ":", "How", "many", "pens", "has", "Tom", "?", "A", ":"])
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert choice["message"]["content"] == choice["message"]["content"].strip()


def test_temperature_zero_is_greedy_and_nothing_samples(server):
    greedy = {chat(server, temperature=0)["choices"][0]["message"]["content"] for _ in range(3)}
    free = {chat(server)["choices"][0]["message"]["content"] for _ in range(4)}
    seeded = {chat(server, seed=4, temperature=0.9)["choices"][0]["message"]["content"] for _ in range(3)}
    assert (len(greedy), len(seeded)) == (1, 1) and len(free) > 1


def test_n_is_ignored(server):
    assert len(chat(server, n=3)["choices"]) == 1


def test_chat_logprobs(server):
    content = chat(server, temperature=0, logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]
    assert all(len(token["top_logprobs"]) == 2 for token in content)
    assert all(token["logprob"] == token["top_logprobs"][0]["logprob"] for token in content)


def test_chat_stream(server):
    whole = chat(server, seed=3)
    events = server.events(
        "/v1/chat/completions",
        {
            "messages": QUESTION,
            "max_tokens": 6,
            "seed": 3,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    )
    assert events[-1] == "[DONE]" and events[-2]["choices"] == [] and events[-2]["usage"] == whole["usage"]
    chunks = [event["choices"][0] for event in events[:-2]]
    text = "".join(chunk["delta"]["content"] for chunk in chunks)
    assert text == whole["choices"][0]["message"]["content"]
    assert [chunk["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_parts_of_text_are_joined(server):
    parts = [{"type": "text", "text": "How many pens "}, {"type": "text", "text": "has Tom ?"}]
    body = chat(server, messages=[{"role": "Q", "content": parts}], temperature=0)
    assert body["choices"] == chat(server, temperature=0)["choices"]


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        ({"messages": [{"role": "forbidden", "content": ""}]}, 422, "template_error", "Template error: no such role"),
        ({"tools": [{"type": "function"}]}, 422, "tool_error", "Tool error: tools are not supported"),
        ({"response_format": {"type": "json_object"}}, 422, "validation", "grammar is not supported"),
        ({"temperature": -1}, 422, "validation", "`temperature` must be strictly positive"),
        ({"top_p": 1.0}, 422, "validation", "`top_p` must be > 0.0 and < 1.0"),
        ({"messages": [{"role": "Q", "content": [{"type": "image_url"}]}]}, 422, "validation", "reads text only"),
    ],
)
def test_chat_refusals(server, body, status, kind, message):
    response = server.post("/v1/chat/completions", {"messages": QUESTION, "max_tokens": 4, **body})
    assert response.status_code == status
    assert response.json()["error_type"] == kind and message in response.json()["error"]


def test_malformed_messages(server):
    for messages in ([{"content": "x"}], ["x"], [{"role": "Q", "content": 4}]):
        response = server.post("/v1/chat/completions", {"messages": messages})
        assert response.status_code == 422 and "messages[0]" in response.text


def test_errors_inside_a_stream(server):
    body = {"messages": QUESTION, "stream": True, "top_p": 1.0}
    error, end = server.events("/v1/chat/completions", body)
    assert error["error"]["http_status_code"] == 422 and "top_p" in error["error"]["message"]
    assert end == "[DONE]"


def test_completions(server):
    body = {"prompt": ["Tom has", "How many"], "max_tokens": 5, "temperature": 0}
    both = server.post("/v1/completions", body).json()
    assert [choice["index"] for choice in both["choices"]] == [0, 1]
    assert both["usage"]["completion_tokens"] <= 10
    for index, prompt in enumerate(body["prompt"]):
        single = server.post("/v1/completions", {**body, "prompt": prompt}).json()
        assert single["choices"][0]["text"] == both["choices"][index]["text"]
        assert single["choices"][0]["text"] == server.generate(prompt, max_new_tokens=5)["generated_text"]


def test_completion_stream_of_two_prompts(server):
    body = {"prompt": ["Tom has", "How many"], "max_tokens": 5, "seed": 1}
    both = server.post("/v1/completions", body).json()
    events = server.events("/v1/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})
    assert events[-1] == "[DONE]" and events[-2]["usage"] == both["usage"]
    for index in (0, 1):
        chunks = [event["choices"][0] for event in events[:-2] if event["choices"][0]["index"] == index]
        assert "".join(chunk["text"] for chunk in chunks) == both["choices"][index]["text"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": ["a"] * 5}, "Number of prompts exceeds the maximum allowed batch size of 4"),
        ({"prompt": "a", "suffix": "b"}, "Suffix is not supported and can be achieved by preprocessing the prompt."),
        ({"prompt": ["Tom", ""]}, "`inputs` cannot be empty"),
    ],
)
def test_completion_refusals(server, body, message):
    response = server.post("/v1/completions", body)
    assert response.status_code == 422
    assert response.json() == {"error": f"Input validation error: {message}", "error_type": "validation"}


def test_completions_have_no_logprobs(server):
    """TGI's request has no such field, so it is ignored like any unknown one, and the response always says null."""
    body = {"prompt": "Tom", "max_tokens": 3, "logprobs": 2}
    assert server.post("/v1/completions", body).json()["choices"][0]["logprobs"] is None
    chunks = server.events("/v1/completions", {**body, "stream": True})[:-1]
    assert {chunk["choices"][0]["logprobs"] for chunk in chunks} == {None}


def test_many_completion_streams_say_what_the_answers_say(server):
    bodies = [{"prompt": f"Tom has {seed % 20}", "max_tokens": 20, "seed": seed} for seed in range(64)]
    with ThreadPoolExecutor(64) as pool:
        streams = list(pool.map(lambda body: server.events("/v1/completions", {**body, "stream": True}), bodies))
    for body, events in zip(bodies[::8], streams[::8], strict=True):
        text = "".join(event["choices"][0]["text"] for event in events[:-1])
        assert text == server.post("/v1/completions", body).json()["choices"][0]["text"]
    assert all(events[-1] == "[DONE]" for events in streams)
