"""The teacher asked while somebody waits, and its endpoints looked at as a run would find them."""

import pytest

from hfdistill.sections import TeacherConfig
from hfdistill.teacher.endpoints import TRANSFORMERS_SERVE, Endpoint, Identity
from hfdistill.teacher.now import ask_now, say_of_endpoints
from hfdistill.teacher.protocols import CHAT, Decoding, Protocol
from hfdistill.teacher.session import run_loop
from hfdistill.teacher.transport import Faulty


def test_the_endpoints_of_a_run_are_identified_as_the_run_does(stand_in, monkeypatch):
    monkeypatch.setenv("KEY", "secret")
    one, other = (stand_in(kind="openai", model=name, token="secret").url for name in ("org/a", "org/b"))
    paused = "https://x.endpoints.huggingface.cloud"
    said = say_of_endpoints(TeacherConfig("org/large", [one, paused, other], api_key_env="KEY"), 5.0)
    assert said[0] == (True, f"endpoint {one} serves org/a by vllm 0.20.1")
    assert said[1] == (None, f"endpoint {paused}: not asked, since that could start it")
    assert said[3][0] is False and "the endpoints differ in model_id" in said[3][1]
    assert len(say_of_endpoints(TeacherConfig("", [one, other], api_key_env="KEY"), 5.0, of_a_run=False)) == 2


def test_transformers_serve_is_refused_by_name(monkeypatch):
    async def identify(self):
        return Identity(Protocol(CHAT, TRANSFORMERS_SERVE, "m"), "m")

    monkeypatch.setattr(Endpoint, "identify", identify)
    ((good, said),) = say_of_endpoints(TeacherConfig("m", ["http://127.0.0.1:9"]), 5.0)
    assert not good and "is `transformers serve`, which cannot vary the temperature" in said


def test_what_an_endpoint_refuses_is_left_out(stand_in):
    endpoint = stand_in(kind="openai", owned_by="someone", refused_fields=["top_k", "max_tokens"])
    teacher = TeacherConfig("stand-in/teacher", [endpoint.url], chat=True)
    answers = run_loop(ask_now(teacher, Decoding(64), "Q: 1 + 1?", 0.7, 3))
    assert len({answer.text for answer in answers}) == 3


def test_a_fallback_is_no_answer_of_the_teachers(stand_in):
    endpoint = stand_in(kind="openai", fallback=True, other_model="cheap")
    teacher = TeacherConfig("stand-in/teacher", [endpoint.url], tries=1)
    with pytest.raises(Faulty, match="was answered by"):
        run_loop(ask_now(teacher, Decoding(64), "Q: 1 + 1?"))
