"""A question that is refused is no outage, and an endpoint that refuses everything is no row of refused questions."""

import sys
from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError


sys.path.insert(0, str(Path(__file__).parent))
from asking import EACH, ask, rows_of


@pytest.mark.parametrize("status", [400, 403, 404, 413, 451])
def test_a_question_refused_is_marked_and_the_run_goes_on(tmp_path, stand_in, status):
    endpoint = stand_in(kind="openai", refuse="What is 3 +", refuse_status=status)
    with pytest.raises(HFDistillError, match=rf"^{EACH} of {8 * EACH} .*answered {status}: Input validation error"):
        ask(tmp_path, endpoint.url, patience=30)
    rows = rows_of(tmp_path)
    assert {row.question_id for row in rows if row.status == "failed"} == {"q00003"}
    assert sum(row.status == "done" for row in rows) == 7 * EACH


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_endpoint_that_refuses_everything_after_a_while_ends_the_run(tmp_path, stand_in, status):
    endpoint = stand_in(kind="openai", refuse_after=40, refuse_status=status)
    with pytest.raises(HFDistillError, match=f"refuses everything that it is asked now: it answered {status}: Input"):
        ask(tmp_path, endpoint.url, questions=20, concurrency=4)
    assert {row.status for row in rows_of(tmp_path)} == {"done"}
    endpoint.control(refuse_after=None)
    assert len(ask(tmp_path, endpoint.url, questions=20)[1]) == 20 * EACH


def test_many_refused_questions_in_a_row_are_marked_where_others_are_answered(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", refuse="What is 1")  # 1 and 10 to 19
    with pytest.raises(HFDistillError, match=rf"^{11 * EACH} of {24 * EACH} "):
        ask(tmp_path, endpoint.url, questions=24, concurrency=2)
    rows = rows_of(tmp_path)
    assert sum(row.status == "failed" for row in rows) == 11 * EACH
    assert sum(row.status == "done" for row in rows) == 13 * EACH
    with pytest.raises(HFDistillError, match="could not be had"):  # nothing but refused ones is left to ask
        ask(tmp_path, endpoint.url, questions=24, sampling={"retry_failed": True})
    done = ask(tmp_path, endpoint.url, questions=24, sampling={"max_missing": 0.5})
    assert done[0]["missing"] == 11 * EACH


def test_what_one_endpoint_refuses_another_answers(tmp_path, stand_in):
    refusing, good = stand_in(kind="openai", refuse_after=30), stand_in(kind="openai", latency=0.01)
    _, rows = ask(tmp_path, [refusing.url, good.url], questions=20, concurrency=4)
    assert len(rows) == 20 * EACH and {row.status for row in rows} == {"done"}


def test_the_words_of_a_server_are_kept_without_its_secrets(tmp_path, stand_in, monkeypatch):
    monkeypatch.setenv("KEY", "sk-abcdefgh12345678")
    endpoint = stand_in(kind="openai", token="sk-other")
    with pytest.raises(HFDistillError, match="answered 401") as refused:
        ask(tmp_path, endpoint.url, api_key_env="KEY")
    assert "sk-" not in str(refused.value)
