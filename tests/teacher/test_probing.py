"""What an endpoint takes is found out before a run relies on it."""

import sys
from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.teacher.plan import Grid
from hfdistill.teacher.probing import check_beginning, describe
from hfdistill.teacher.protocols import CHAT, COMPLETIONS, NEUTRAL, TGI, Accepted, Protocol


sys.path.insert(0, str(Path(__file__).parent))
from asking import EACH, ask


def bodies(endpoint):
    """Those of the run, which are the longest and come last."""
    return [body for body in endpoint.control()["bodies"] if body.get("max_tokens", 64) == 64][-8 * EACH :]


@pytest.mark.parametrize("owned_by", ["vllm", "sglang", "llamacpp"])
def test_neutral_settings_go_with_every_request_at_temperature_0_too(tmp_path, stand_in, owned_by):
    endpoint = stand_in(kind="openai", owned_by=owned_by)
    ask(tmp_path, endpoint.url)
    neutral = NEUTRAL[{"llamacpp": "llama.cpp"}.get(owned_by, owned_by)]
    seen = endpoint.control()["bodies"]
    assert {body["temperature"] for body in seen} >= {0.0, 0.3, 1.0}
    assert all(neutral.items() <= body.items() for body in seen)
    assert all(("seed" in body) == (body["temperature"] > 0) for body in seen)


def test_what_is_refused_is_dropped_and_remembered(tmp_path, stand_in, capsys):
    refused = ["min_p", "repeat_penalty", "stop", "top_p"]
    endpoint = stand_in(kind="openai", owned_by="someone", refused_fields=refused)
    _, rows = ask(tmp_path, endpoint.url)
    assert {row.status for row in rows} == {"done"} and len(rows) == 8 * EACH
    sent = bodies(endpoint)
    assert not any(name in body for body in sent for name in refused)
    assert all(body["top_k"] == -1 and body["repetition_penalty"] == 1.0 for body in sent)
    assert all("\nQ:" not in row.text for row in rows)
    before = endpoint.control()["statuses"]["400"]
    ask(tmp_path, endpoint.url, grid=Grid([0.0, 0.3], 2, [1.0], 3))
    assert endpoint.control()["statuses"]["400"] == before


def test_a_setting_that_is_refused_by_a_500_is_dropped_too(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", owned_by="me", refused_fields=["min_p"], refused_fields_status=500)
    _, rows = ask(tmp_path, endpoint.url)
    assert {row.status for row in rows} == {"done"}
    assert all("min_p" not in body and body["repeat_penalty"] == 1.0 for body in bodies(endpoint))


def test_of_settings_that_exclude_each_other_one_is_sent(tmp_path, stand_in):
    pair = ["repetition_penalty", "repeat_penalty"]
    endpoint = stand_in(kind="openai", owned_by="someone", refused_fields=["min_p"], exclusive_fields=pair)
    ask(tmp_path, endpoint.url)
    sent = bodies(endpoint)
    assert all("repetition_penalty" in body and "top_p" in body for body in sent)
    assert not any("repeat_penalty" in body or "min_p" in body for body in sent)


def test_max_completion_tokens_is_sent_where_max_tokens_is_refused(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", owned_by="system", refused_fields=["max_tokens"])
    ask(tmp_path, endpoint.url, chat=True)
    assert endpoint.control()["bodies"][-1]["max_completion_tokens"] == 64


def test_seeds_are_as_large_as_the_endpoint_takes_them(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", owned_by="google", largest_seed=2**31 - 1)
    _, rows = ask(tmp_path, endpoint.url)
    seeds = [row.seed for row in rows if row.temperature]
    assert len({*seeds}) == len(seeds) == 8 * (EACH - 1) and all(1 <= seed < 2**31 for seed in seeds)
    assert {body.get("seed") for body in endpoint.control()["bodies"]} >= {*seeds}


def test_an_endpoint_without_seeds_is_asked_without(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", owned_by="someone", refused_fields=["seed"])
    _, rows = ask(tmp_path, endpoint.url)
    assert {row.seed for row in rows} == {None} and len({row.text for row in rows}) == len(rows)


def test_the_first_question_may_be_refused_for_what_it_says(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", refuse="What is 0 +", refuse_status=403)
    with pytest.raises(HFDistillError, match=rf"{EACH} of .* could not be had .*answered 403: Input validation"):
        ask(tmp_path, endpoint.url)


def test_an_endpoint_that_refuses_everything_is_told_by_its_words(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", refuse="Q:", refuse_status=404)
    with pytest.raises(HFDistillError, match="refuses each of 5 questions: it answered 404: Input validation error"):
        ask(tmp_path, endpoint.url)


def test_a_greedy_run_needs_no_endpoint_that_draws(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", greedy_only=True)
    assert len(ask(tmp_path, endpoint.url, grid=Grid([0.0], 1))[1]) == 8
    with pytest.raises(HFDistillError, match="cannot vary the temperature"):
        ask(tmp_path / "drawn", endpoint.url)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_show_whether_the_temperature_is_heeded(tmp_path, stand_in, field):
    endpoint = stand_in(kind="openai", thought="only", thought_field=field)
    rows = ask(tmp_path, endpoint.url, chat=True)[1]
    assert {row.text for row in rows} == {"<think>"}
    assert all(row.thought.startswith("Well, w") for row in rows)


@pytest.mark.parametrize("kind", ["tgi", "openai"])
def test_own_fields_go_with_every_request(tmp_path, stand_in, kind):
    endpoint = stand_in(kind=kind)
    ask(tmp_path, endpoint.url, extra_body={"top_n_tokens": 2})
    seen = endpoint.control()["bodies"]
    assert all(body.get("parameters", body)["top_n_tokens"] == 2 for body in seen)
    with pytest.raises(HFDistillError, match="extra_body was {'top_n_tokens': 2} and is None"):
        ask(tmp_path, endpoint.url, grid=Grid([0.0, 0.3], 2, [1.0], 3))


def test_what_is_sent_is_told_in_a_line():
    assert describe(Protocol(TGI, "tgi", "m")) == ""
    assert describe(Protocol(COMPLETIONS, "llama.cpp", "m")) == (
        "every request with top_p 1, top_k 0, min_p 0, frequency_penalty 0, presence_penalty 0, repeat_penalty 1"
    )
    few = Accepted({"top_p": 1.0}, largest_seed=0, stop=False)
    told = describe(Protocol(CHAT, "vllm", "m", accepted=few))
    assert told.startswith("every request with top_p 1; not taken: top_k, min_p,")
    assert told.endswith("stop texts (cut on receipt), seeds (no sample of its can be drawn again)")


def test_a_prompt_with_its_own_beginning_is_refused():
    with pytest.raises(HFDistillError, match="would see it twice"):
        check_beginning("<|begin_of_text|>Q: 1", Protocol(TGI, "tgi", "teacher"))
    check_beginning("Q: <s>", Protocol(TGI, "tgi", "teacher"))


def test_an_answer_that_two_endpoints_gave_is_one_row_and_one_request(tmp_path, stand_in):
    endpoints = [stand_in(kind="openai", owned_by="vllm") for _ in range(2)]
    asked, rows = ask(tmp_path, [endpoint.url for endpoint in endpoints], questions=1)
    assert asked["cost"]["requests"] == len(rows) == EACH
    # Both were asked and paid for, and so are the answers to both probes.
    answered = [endpoint.control()["answered"] for endpoint in endpoints]
    assert sum(answered) > EACH and asked["cost"]["completion_tokens"] > sum(row.completion_tokens for row in rows)
