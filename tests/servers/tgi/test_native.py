import math
from concurrent.futures import ThreadPoolExecutor

import pytest


PROMPT = "Tom has 7 pens ."


def test_greedy_is_the_default_of_given_parameters_and_sampling_of_none(server):
    greedy = {server.generate(PROMPT, max_new_tokens=8)["generated_text"] for _ in range(3)}
    assert len(greedy) == 1
    # Temperature 1.0 without do_sample is no sampling either.
    assert server.generate(PROMPT, max_new_tokens=8, temperature=1.0)["generated_text"] in greedy
    free = {server.post("/generate", {"inputs": PROMPT}).json()["generated_text"] for _ in range(3)}
    assert len(free) == 3


def test_a_seed_gives_the_same_text_alone_and_in_a_crowd(server):
    wanted = [
        (f"Tom has {index % 20} pens .", {"do_sample": True, "seed": index, "max_new_tokens": 5 + index % 30})
        for index in range(60)
    ]
    with ThreadPoolExecutor(40) as pool:
        crowd = list(pool.map(lambda item: server.generate(item[0], **item[1]), wanted))
    alone = [server.generate(inputs, **parameters) for inputs, parameters in wanted[::6]]
    assert crowd[::6] == alone
    assert len({response["generated_text"] for response in crowd}) > 50


def test_details(server, words):
    response = server.post(
        "/generate",
        {
            "inputs": PROMPT,
            "parameters": {
                "max_new_tokens": 6,
                "details": True,
                "decoder_input_details": True,
                "top_n_tokens": 3,
                "do_sample": True,
                "seed": 2**64 - 1,
            },
        },
    )
    body, headers = response.json(), response.headers
    details = body["details"]
    assert (details["finish_reason"], details["generated_tokens"], details["seed"]) == ("length", 6, 2**64 - 1)
    assert [words[token["id"]] for token in details["prefill"]] == ["<s>", *PROMPT.split()]
    assert details["prefill"][0]["logprob"] is None and all(token["logprob"] < 0 for token in details["prefill"][1:])
    assert len(details["tokens"]) == len(details["top_tokens"]) == 6
    for token, top in zip(details["tokens"], details["top_tokens"], strict=True):
        assert token["text"].strip() == words[token["id"]] and token["special"] == (token["id"] < 4)
        assert len(top) == 3 and top[0]["logprob"] >= top[1]["logprob"] >= top[2]["logprob"]
        assert token["logprob"] <= top[0]["logprob"] < 0 or token["id"] == top[0]["id"]
    spoken = "".join(token["text"] for token in details["tokens"] if not token["special"])
    assert spoken == body["generated_text"]
    assert headers["x-prompt-tokens"] == "6" and headers["x-generated-tokens"] == "6"
    assert {"x-compute-type", "x-total-time", "x-queue-time", "x-inference-time", "x-time-per-token"} <= set(headers)
    assert server.generate(PROMPT, max_new_tokens=3, details=True)["details"]["seed"] is None


def test_greedy_takes_the_likeliest_of_the_top(server):
    details = server.generate(PROMPT, max_new_tokens=6, details=True, top_n_tokens=1)["details"]
    assert [token["id"] for token in details["tokens"]] == [top[0]["id"] for top in details["top_tokens"]]


def test_stop_text_stays_and_ends_the_response(server):
    words = server.generate(PROMPT, max_new_tokens=30, do_sample=True, seed=5)["generated_text"].split()
    stop = next(word for word in words[3:] if words.index(word) >= 3)
    response = server.generate(PROMPT, max_new_tokens=30, do_sample=True, seed=5, stop=["never", stop], details=True)
    assert response["details"]["finish_reason"] == "stop_sequence"
    assert response["generated_text"].endswith(stop)
    assert response["generated_text"].split() == words[: words.index(stop) + 1]


def test_end_of_sequence_counts_but_is_no_text(server):
    for seed in range(200):
        response = server.generate(PROMPT, max_new_tokens=100, do_sample=True, seed=seed, details=True)
        if response["details"]["finish_reason"] == "eos_token":
            break
    tokens = response["details"]["tokens"]
    assert tokens[-1]["id"] == 2 and tokens[-1]["special"]
    assert response["details"]["generated_tokens"] == len(tokens)
    assert "</s>" not in response["generated_text"]


def test_truncate_keeps_the_end_of_the_prompt(server, words):
    long = " ".join(["pens"] * 20) + " Tom has 3"
    response = server.generate(long, max_new_tokens=4, truncate=3, details=True, decoder_input_details=True)
    assert [words[token["id"]] for token in response["details"]["prefill"]] == ["Tom", "has", "3"]


def test_return_full_text(server):
    plain = server.generate(PROMPT, max_new_tokens=4)["generated_text"]
    assert server.generate(PROMPT, max_new_tokens=4, return_full_text=True)["generated_text"] == PROMPT + plain


def test_best_of_takes_the_likeliest(server):
    response = server.generate(PROMPT, max_new_tokens=9, do_sample=True, best_of=2, details=True)
    (other,) = response["details"]["best_of_sequences"]

    def mean(tokens):
        return sum(token["logprob"] for token in tokens) / len(tokens)

    assert mean(response["details"]["tokens"]) >= mean(other["tokens"])
    assert response["details"]["seed"] != other["seed"]


def test_max_new_tokens_left_out_goes_to_the_limit(server):
    tokens = server.generate(PROMPT, details=True, decoder_input_details=True)["details"]
    assert tokens["finish_reason"] == "eos_token" or tokens["generated_tokens"] == 128 - 6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": 0}, "`temperature` must be strictly positive"),
        ({"temperature": -0.5}, "`temperature` must be strictly positive"),
        ({"repetition_penalty": 0}, "`repetition_penalty` must be strictly positive"),
        ({"frequency_penalty": 2.5}, "`frequency_penalty` must be >= -2.0 and <= 2.0"),
        ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0"),
        ({"top_p": 0}, "`top_p` must be > 0.0 and < 1.0"),
        ({"typical_p": 1.0}, "`typical_p` must be > 0.0 and < 1.0"),
        ({"top_k": 0}, "`top_k` must be strictly positive"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be strictly positive"),
        ({"stop": list("abcde")}, "`stop` supports up to 4 stop sequences. Given: 5"),
        ({"best_of": 2}, "you must use sampling when `best_of` is > 1"),
        ({"best_of": 2, "do_sample": True, "seed": 1}, "`seed` must not be set when `best_of` > 1"),
        ({"best_of": 3, "do_sample": True}, "`best_of` must be > 0 and <= 2. Given: 3"),
        ({"top_n_tokens": 6}, "`top_n_tokens` must be >= 0 and <= 5. Given: 6"),
        ({"truncate": 0}, "`truncate` must be strictly positive and less than 127. Given: 0"),
        ({"truncate": 128}, "`truncate` must be strictly positive and less than 127. Given: 128"),
        (
            {"max_new_tokens": 123},
            "`inputs` tokens + `max_new_tokens` must be <= 128. Given: 6 `inputs` tokens and 123 `max_new_tokens`",
        ),
        ({"grammar": {"type": "regex", "value": "a"}}, "grammar is not supported"),
        ({"watermark": True}, "`watermark` is not supported"),
        ({"adapter_id": "x"}, "`adapter_id` is not supported"),
    ],
)
def test_validation_messages(server, parameters, message):
    refused = {"error": f"Input validation error: {message}", "error_type": "validation"}
    response = server.post("/generate", {"inputs": PROMPT, "parameters": parameters})
    assert (response.status_code, response.json()) == (422, refused)
    if "best_of" not in parameters:
        # A stream has its status already.
        assert server.events("/generate_stream", {"inputs": PROMPT, "parameters": parameters}) == [refused]


def test_prompts_that_do_not_fit(server):
    assert "cannot be empty" in server.post("/generate", {"inputs": ""}).json()["error"]
    response = server.post("/generate", {"inputs": "pens " * 127})
    assert response.json()["error"].endswith("`inputs` must have less than 127 tokens. Given: 128")
    assert server.generate("pens " * 126)["generated_text"] is not None


@pytest.mark.parametrize(
    ("content", "kind", "status", "text"),
    [
        (b'{"inputs": "a"}', "text/plain", 415, "Expected request with `Content-Type: application/json`"),
        (b'{"inputs": ', "application/json", 400, "Failed to parse the request body as JSON"),
        (b"[1]", "application/json", 422, "invalid type"),
        (b"{}", "application/json", 422, "missing field `inputs`"),
        (b'{"inputs": 5}', "application/json", 422, "inputs: invalid type: 5, expected a string"),
        (b'{"inputs": "a", "parameters": {"top_k": "x"}}', "application/json", 422, 'invalid type: "x", expected i32'),
        (b'{"inputs": "a", "parameters": {"seed": -1}}', "application/json", 422, "expected u64"),
        (b'{"inputs": "a", "parameters": {"do_sample": null}}', "application/json", 422, "expected a boolean"),
        (b'{"inputs": "' + b"a" * 2_000_001 + b'"}', "application/json", 413, "length limit exceeded"),
    ],
)
def test_bodies_that_are_no_requests(server, content, kind, status, text):
    response = server.client.post("/generate", content=content, headers={"content-type": kind})
    assert response.status_code == status and text in response.text
    assert response.headers["content-type"].startswith("text/plain")


def test_unknown_fields_are_ignored(server):
    assert server.generate(PROMPT, max_new_tokens=3, max_tokens=99, details=True)["details"]["generated_tokens"] == 3


def test_root_answers_in_a_list_or_streams(server):
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 4}}
    plain = server.generate(PROMPT, max_new_tokens=4)
    assert server.post("/", body).json() == [plain]
    assert server.events("/", {**body, "stream": True})[-1]["generated_text"] == plain["generated_text"]
    assert server.client.get("/").status_code == 200


def test_stream_says_what_the_response_says(server):
    parameters = {"max_new_tokens": 12, "do_sample": True, "seed": 8, "details": True, "top_n_tokens": 2}
    whole = server.generate(PROMPT, **parameters)
    events = server.events("/generate_stream", {"inputs": PROMPT, "parameters": parameters})
    assert [event["token"] for event in events] == whole["details"]["tokens"]
    assert [event["top_tokens"] for event in events] == whole["details"]["top_tokens"]
    assert [event["index"] for event in events] == list(range(1, len(events) + 1))
    assert [event["generated_text"] for event in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1]["generated_text"] == whole["generated_text"]
    details = events[-1]["details"]
    assert (details["generated_tokens"], details["seed"], details["input_length"]) == (len(events), 8, 6)


def test_stream_refuses_what_cannot_be_streamed(server):
    for parameters, message in (
        ({"best_of": 2, "do_sample": True}, "`best_of` != 1 is not supported when streaming tokens"),
        ({"decoder_input_details": True}, "`decoder_input_details` == true is not supported when streaming tokens"),
    ):
        (event,) = server.events("/generate_stream", {"inputs": PROMPT, "parameters": parameters})
        assert event == {"error": f"Input validation error: {message}", "error_type": "validation"}


def test_info_health_models_metrics(server, model, wait_for):
    info = server.client.get("/info").json()
    assert info["model_id"] == str(model) and len(info["model_sha"]) == 40
    assert (info["max_concurrent_requests"], info["max_total_tokens"], info["max_input_tokens"]) == (64, 128, 127)
    assert (info["model_dtype"], info["model_device_type"], info["max_best_of"]) == ("torch.float64", "cpu", 2)
    for path in ("/health", "/ping"):
        assert (server.client.get(path).status_code, server.client.get(path).text) == (200, "")
    assert server.client.get("/v1/models").json()["data"][0]["id"] == str(model)
    before = server.load()
    server.generate(PROMPT, max_new_tokens=5)
    server.post("/generate", {"inputs": ""})
    after = server.load()
    assert after["tgi_request_success"] == before["tgi_request_success"] + 1
    assert after["tgi_request_count"] == before["tgi_request_count"] + 2
    failures = 'tgi_request_failure{err="validation"}'
    assert after[failures] == before.get(failures, 0) + 1
    assert after["tgi_request_generated_tokens_sum"] == before["tgi_request_generated_tokens_sum"] + 5
    wait_for(lambda: server.load()["tgi_batch_current_size"] == 0)


def test_tokenize(server, words):
    spans = server.post("/tokenize", {"inputs": "Tom has 7"}).json()
    assert spans == [
        {"id": 1, "text": "", "start": 0, "stop": 0},
        {"id": 4, "text": "Tom", "start": 0, "stop": 3},
        {"id": 5, "text": "has", "start": 4, "stop": 7},
        {"id": words.index("7"), "text": "7", "start": 8, "stop": 9},
    ]
    plain = server.post("/tokenize", {"inputs": "Tom", "add_special_tokens": False}).json()
    assert [span["id"] for span in plain] == [4]
    chat = server.post("/chat_tokenize", {"messages": [{"role": "Q", "content": "How many"}]}).json()
    assert chat["templated_text"] == "<s> Q : How many A :"
    assert [span["text"] for span in chat["tokenize_response"]] == chat["templated_text"].split()


def test_sampling_parameters_reach_the_model(server):
    def texts(**parameters):
        return [
            server.generate(PROMPT, max_new_tokens=5, seed=seed, do_sample=True, **parameters)["generated_text"]
            for seed in range(6)
        ]

    greedy = server.generate(PROMPT, max_new_tokens=5)["generated_text"]
    assert texts(top_k=1) == texts(temperature=0.001) == texts(top_p=0.0001) == [greedy] * 6
    assert len(set(texts())) > 3
    repeated = server.generate("Tom Tom Tom", max_new_tokens=60, repetition_penalty=1e6)["generated_text"].split()
    assert len(set(repeated)) > 20 or math.isclose(len(set(repeated)), len(repeated))


def test_wrong_routes_and_methods(server):
    assert server.client.get("/nothing").status_code == 404
    assert server.client.get("/generate").status_code == 405


def test_what_prompts_have_in_common_is_computed_once(server, start_server, model):
    nothing_kept = start_server(model, "--dtype", "float64", "--prefix_cache_mb", 0)
    shots = " ".join(["Tom has 3 cups . How many ?"] * 9)
    prompts = [f"{shots} Tom buys {number} pens" for number in range(8)]
    before = server.load()["hfdistill_prefix_tokens"]
    for seed, prompt in enumerate(prompts):
        asked = {"max_new_tokens": 6, "do_sample": True, "seed": seed, "decoder_input_details": True}
        assert server.generate(prompt, **asked) == nothing_kept.generate(prompt, **asked)
    assert server.load()["hfdistill_prefix_tokens"] - before >= 6 * 64
    assert 0 < server.load()["hfdistill_prefix_bytes"] < 2**28
    assert nothing_kept.load()["hfdistill_prefix_bytes"] == nothing_kept.load()["hfdistill_prefix_tokens"] == 0
