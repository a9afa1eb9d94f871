import pytest

from hfdistill.tasks import extract_number
from hfdistill.tasks.base import UNFINISHED
from hfdistill.teacher.protocols import CHAT, COMPLETIONS, TGI, Decoding, Protocol
from hfdistill.teacher.transport import Faulty


DECODING = Decoding(128, ("\nQ:", "\n\n"))


def tgi(**changes):
    return Protocol(TGI, "tgi", "teacher", **changes)


def test_tgi_at_temperature_zero_is_greedy_and_names_no_temperature():
    body = tgi().body("1 + 1 =", 0.0, None, Decoding(8, top_p=0.9, top_k=5))
    assert body == {
        "inputs": "1 + 1 =",
        "parameters": {"max_new_tokens": 8, "details": True, "do_sample": False},
    }


def test_tgi_back_ends_that_never_read_do_sample_get_top_k():
    assert tgi(greedy_top_k=True).body("x", 0.0, None, DECODING)["parameters"]["top_k"] == 1


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0])
def test_tgi_above_zero_always_says_do_sample(temperature):
    parameters = tgi(details=False).body("x", temperature, 7, DECODING)["parameters"]
    assert parameters == {
        "max_new_tokens": 128,
        "details": False,
        "stop": ["\nQ:", "\n\n"],
        "do_sample": True,
        "temperature": temperature,
        "seed": 7,
    }


def test_at_most_four_stop_texts_are_sent_and_all_are_cut():
    decoding = Decoding(8, ("a", "b", "c", "d", "e"))
    protocol = tgi(details=False)
    assert len(protocol.body("x", 0.0, None, decoding)["parameters"]["stop"]) == 4
    completion = protocol.read({"generated_text": "1 2 e 3"}, {"x-generated-tokens": "4"}, decoding)
    assert (completion.text, completion.finish_reason) == ("1 2 ", "stop_sequence")


@pytest.mark.parametrize(
    ("generated", "text", "reason"),
    [("128", "long", "length"), ("5", "ended", "eos_token"), ("5", "a\nQ:", "stop_sequence")],
)
def test_tgi_finish_reason_from_headers(generated, text, reason):
    headers = {"x-generated-tokens": generated, "x-prompt-tokens": "3"}
    completion = tgi(details=False).read({"generated_text": text}, headers, DECODING)
    assert completion.finish_reason == reason
    assert (completion.prompt_tokens, completion.completion_tokens) == (3, int(generated))


def test_tgi_finish_reason_from_details():
    content = {"generated_text": "x", "details": {"finish_reason": "length", "generated_tokens": 9}}
    completion = tgi().read(content, {}, DECODING)
    assert (completion.finish_reason, completion.completion_tokens, completion.prompt_tokens) == ("length", 9, None)


@pytest.mark.parametrize("kind", [COMPLETIONS, CHAT])
def test_openai_temperatures_are_explicit(kind):
    protocol = Protocol(kind, "openai", "teacher")
    assert protocol.body("x", 0.0, None, DECODING)["temperature"] == 0.0
    body = protocol.body("x", 1.0, 7, DECODING)
    assert (body["temperature"], body["seed"], body["top_p"], body["max_tokens"]) == (1.0, 7, 1.0, 128)
    assert body["stop"] == ["\nQ:", "\n\n"]
    if kind == CHAT:
        assert body["messages"] == [{"role": "user", "content": "x"}]
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]
        assert protocol.body(turns, 1.0, 7, DECODING)["messages"] == turns
    else:
        assert body["prompt"] == "x"


@pytest.mark.parametrize(("engine", "top_k"), [("vllm", -1), ("sglang", -1), ("llama.cpp", 0)])
def test_defaults_that_would_narrow_the_distribution_are_turned_off(engine, top_k):
    body = Protocol(COMPLETIONS, engine, "teacher").body("x", 0.7, 1, DECODING)
    assert (body["top_k"], body["top_p"], body["min_p"]) == (top_k, 1.0, 0.0)


def test_settings_win_over_neutral_ones():
    body = Protocol(COMPLETIONS, "vllm", "teacher").body("x", 0.7, 1, Decoding(8, top_p=0.9, top_k=40))
    assert (body["top_k"], body["top_p"]) == (40, 0.9)


def test_openai_answers():
    content = {
        "choices": [{"text": "4", "finish_reason": "stop", "stop_reason": None}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    completion = Protocol(COMPLETIONS, "vllm", "teacher").read(content, {}, DECODING)
    assert (completion.text, completion.finish_reason) == ("4", "eos_token")
    assert (completion.prompt_tokens, completion.completion_tokens) == (3, 1)
    assert Protocol(COMPLETIONS, "openai", "teacher").read(content, {}, DECODING).finish_reason == "stop"
    content["choices"][0]["stop_reason"] = "\nQ:"
    assert Protocol(COMPLETIONS, "vllm", "teacher").read(content, {}, DECODING).finish_reason == "stop_sequence"


def test_chat_answers():
    content = {"choices": [{"message": {"role": "assistant", "content": None}, "finish_reason": "length"}]}
    completion = Protocol(CHAT, "openai", "teacher").read(content, {}, DECODING)
    assert (completion.text, completion.finish_reason, completion.completion_tokens) == ("", "length", None)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_thought_beside_the_text_is_no_part_of_it(field):
    def text(content: str | None) -> str:
        message = {"role": "assistant", "content": content, field: "The answer is 3? No, 4."}
        read = Protocol(CHAT, "vllm", "teacher").read(
            {"choices": [{"message": message, "finish_reason": "stop"}]}, {}, DECODING
        )
        return read.text

    assert text("The answer is 4.") == "The answer is 4."
    assert extract_number(text("")) == extract_number(text(None)) == UNFINISHED


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"generated_text": None, "details": {"finish_reason": "length", "generated_tokens": 1}},
        {"generated_text": "x"},
    ],
)
def test_an_answer_of_another_shape_is_a_fault(content):
    with pytest.raises(Faulty):
        tgi().read(content, {}, DECODING)


@pytest.mark.parametrize(("text", "finish_reason"), [("one\n\ntwo\nQ: three", "stop_sequence"), ("one", "eos_token")])
def test_the_first_of_all_stop_texts_ends_a_response(text, finish_reason):
    content = {"generated_text": text, "details": {"finish_reason": "eos_token", "generated_tokens": 3}}
    completion = tgi().read(content, {}, DECODING)
    assert (completion.text, completion.finish_reason) == ("one", finish_reason)
