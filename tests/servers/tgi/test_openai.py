from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


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


def test_n_responses_have_seeds_that_count_up(server):
    several = chat(server, n=3, seed=7)
    alone = [chat(server, seed=seed) for seed in (7, 8, 9)]
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2]
    assert [c["message"] for c in several["choices"]] == [body["choices"][0]["message"] for body in alone]
    assert several["usage"]["prompt_tokens"] == alone[0]["usage"]["prompt_tokens"]
    body = {"prompt": ["Tom has", "How many"], "n": 2, "seed": 7, "max_tokens": 5}
    choices = server.post("/v1/completions", body).json()["choices"]
    second = server.post("/v1/completions", {**body, "n": 1, "seed": 8, "prompt": "How many"}).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3] and choices[3]["text"] == second[0]["text"]


def test_fields_as_clients_send_them(server):
    neutral = {
        **{"top_p": 1, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "n": 1, "seed": None, "stop": None},
        **{"frequency_penalty": 0, "presence_penalty": 0, "logit_bias": None, "user": "me", "store": False},
    }
    greedy = chat(server, temperature=0)
    assert chat(server, temperature=0, **neutral)["choices"] == greedy["choices"]
    text = greedy["choices"][0]["message"]["content"]
    word = text.split()[1]
    stopped = chat(server, temperature=0, stop=word)["choices"][0]
    assert stopped["finish_reason"] == "stop" and stopped["message"]["content"] == text[: text.index(word) + len(word)]
    short = chat(server, temperature=0, max_tokens=9, max_completion_tokens=2)
    assert short["usage"]["completion_tokens"] == 2
    # Only the likeliest token is left each time.
    for narrow in ({"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-6}):
        assert chat(server, seed=3, **narrow)["choices"] == greedy["choices"]
    varied = chat(server, temperature=0, presence_penalty=2, frequency_penalty=2, max_tokens=12)
    words = varied["choices"][0]["message"]["content"].split()
    plain = chat(server, temperature=0, max_tokens=12)["choices"][0]["message"]["content"].split()
    assert len(set(words)) > len(set(plain))


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
        ({"top_p": 1.5}, 422, "validation", "`top_p` must be > 0.0 and < 1.0"),
        ({"min_p": 2}, 422, "validation", "`min_p` must be >= 0.0 and <= 1.0"),
        ({"presence_penalty": 3}, 422, "validation", "`presence_penalty` must be >= -2.0 and <= 2.0"),
        ({"n": 0}, 422, "validation", "`n` must be > 0 and <= 64. Given: 0"),
        ({"n": 2, "stream": True}, 422, "validation", "`n` > 1 is not supported when streaming a chat"),
        ({"messages": []}, 422, "validation", "`messages` is empty: give at least one"),
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
    body = {"messages": QUESTION, "stream": True, "top_p": 1.5}
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
        ({"prompt": [4, 99999]}, "`prompt` has a token beyond the vocabulary of 49"),
        ({"prompt": "Tom", "max_tokens": 0}, "`max_new_tokens` must be strictly positive"),
        (
            {"prompt": "Tom", "logprobs": 1, "stream": True},
            "`echo` and `logprobs` are not supported when streaming completions",
        ),
    ],
)
def test_completion_refusals(server, body, message):
    response = server.post("/v1/completions", body)
    assert response.status_code == 422
    assert response.json() == {"error": f"Input validation error: {message}", "error_type": "validation"}


def test_echo_and_logprobs_are_those_of_transformers(server, model):
    """What lm-eval's log-likelihoods are made of."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype="float64")
    prompt = "Tom has 7 pens . How many cups"
    ids = tokenizer(prompt)["input_ids"]
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 3, "echo": True}
    (choice,) = server.post("/v1/completions", body).json()["choices"]
    found = choice["logprobs"]
    drawn = server.post("/v1/completions", {**body, "echo": False}).json()["choices"][0]
    assert choice["text"] == prompt + drawn["text"]
    assert len(found["tokens"]) == len(ids) + 1 and found["token_logprobs"][0] is found["top_logprobs"][0] is None
    with torch.no_grad():
        logprobs = network(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = logprobs[:-1].gather(-1, torch.tensor(ids)[1:, None])[:, 0].tolist()
    assert found["token_logprobs"][1:-1] == pytest.approx(expected, abs=1e-6)
    assert found["token_logprobs"][-1] == pytest.approx(logprobs[-1].max().item(), abs=1e-6)
    for line, top, logprob in zip(logprobs, found["top_logprobs"][1:], found["token_logprobs"][1:], strict=True):
        assert sorted(top.values())[-3:] == pytest.approx(sorted(line.topk(3).values.tolist()), abs=1e-6)
        assert logprob in top.values()
    starts = [*found["text_offset"], len(choice["text"])]
    assert sorted(starts) == starts and drawn["logprobs"]["text_offset"][0] == len(prompt)
    as_tokens = server.post("/v1/completions", {**body, "prompt": ids}).json()["choices"][0]
    assert as_tokens["logprobs"]["token_logprobs"] == found["token_logprobs"]
    nothing_drawn = server.post("/v1/completions", {**body, "max_tokens": 0}).json()
    assert nothing_drawn["choices"][0]["text"] == prompt and nothing_drawn["usage"]["completion_tokens"] == 0
    assert nothing_drawn["choices"][0]["logprobs"]["token_logprobs"] == found["token_logprobs"][:-1]


def test_many_completion_streams_say_what_the_answers_say(server):
    bodies = [{"prompt": f"Tom has {seed % 20}", "max_tokens": 20, "seed": seed} for seed in range(64)]
    with ThreadPoolExecutor(64) as pool:
        streams = list(pool.map(lambda body: server.events("/v1/completions", {**body, "stream": True}), bodies))
    for body, events in zip(bodies[::8], streams[::8], strict=True):
        text = "".join(event["choices"][0]["text"] for event in events[:-1])
        assert text == server.post("/v1/completions", body).json()["choices"][0]["text"]
    assert all(events[-1] == "[DONE]" for events in streams)
