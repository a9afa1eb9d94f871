"""Answers of odd shapes: each is a response with what it tells, or one sentence; none is a traceback."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.teacher.protocols import CHAT, COMPLETIONS, TGI, Completion, Decoding, Protocol
from hfdistill.teacher.transport import Faulty


sys.path.insert(0, str(Path(__file__).parent))
from asking import EACH, ask


DECODING = Decoding(8, ("\nQ:",))


def read(choice, kind=COMPLETIONS, **content):
    return Protocol(kind, "openai", "teacher").read({"choices": [choice], **content}, {}, DECODING)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": "50", "completion_tokens": "2"}, (50, 2)),
        ({"prompt_tokens": 50.0, "completion_tokens": 2.5}, (50, 3)),
        ({"prompt_tokens": 2**70, "completion_tokens": -1}, (None, None)),
        ({"prompt_tokens": True, "completion_tokens": "many"}, (None, None)),
        ([1], (None, None)),
        ("none", (None, None)),
        (None, (None, None)),
    ],
)
def test_tokens_are_counted_as_far_as_they_are_told(usage, counted):
    completion = read({"text": "4", "finish_reason": "stop"}, usage=usage)
    assert (completion.prompt_tokens, completion.completion_tokens) == counted


@pytest.mark.parametrize(("generated", "reason"), [(8, "length"), (3, "stop"), (None, "stop")])
@pytest.mark.parametrize("choice", [{"text": "4"}, {"text": "4", "finish_reason": None}])
def test_a_reason_that_is_left_out_is_read_from_the_length(choice, generated, reason):
    assert read(choice, usage={"completion_tokens": generated}).finish_reason == reason


def test_a_content_in_parts_is_one_text():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Well, "}, {"type": "text", "text": "4?"}]},
        {"type": "text", "text": "It is "},
        {"type": "text", "text": "4."},
    ]
    completion = read({"message": {"content": parts}, "finish_reason": "stop"}, CHAT)
    assert (completion.text, completion.thought) == ("It is 4.", "Well, 4?")
    assert read({"message": {"content": parts[1:]}}, CHAT).thought is None


@pytest.mark.parametrize("choice", [None, {}, {"text": 4}, {"text": ["4"]}, "4"])
def test_what_holds_no_text_is_a_fault(choice):
    with pytest.raises(Faulty):
        read(choice)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=3,
)
FIELDS = ("choices", "usage", "model", "system_fingerprint", "generated_text", "details")
INNER = ("message", "text", "content", "finish_reason", "reasoning", "prompt_tokens", "generated_tokens", "type")
ANSWERS = st.dictionaries(
    st.sampled_from(FIELDS),
    JSON | st.lists(st.dictionaries(st.sampled_from(INNER), JSON), min_size=1, max_size=2),
)


@settings(max_examples=40)
@given(ANSWERS, st.sampled_from([TGI, COMPLETIONS, CHAT]), st.booleans())
def test_whatever_comes_is_a_response_or_a_fault(content, kind, details):
    try:
        completion = Protocol(kind, "openai", "teacher", details=details).read(content, {}, DECODING)
    except Faulty:
        return
    assert isinstance(completion, Completion)
    assert isinstance(completion.text, str) and isinstance(completion.finish_reason, str)
    assert all(isinstance(told, int | None) for told in (completion.prompt_tokens, completion.completion_tokens))
    assert all(isinstance(told, str | None) for told in (completion.thought, completion.model, completion.fingerprint))


@pytest.mark.parametrize("odd", ["usage_list", "half_a_character", "no_reason"])
def test_a_run_takes_what_such_a_server_answers(tmp_path, stand_in, odd):
    asked, rows = ask(tmp_path, stand_in(kind="openai", odd=odd).url, questions=2)
    assert asked["missing"] == 0 and len(rows) == 2 * EACH
    assert all(row.text.endswith("�") for row in rows if row.text) or odd != "half_a_character"
