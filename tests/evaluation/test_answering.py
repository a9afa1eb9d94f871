"""The teacher's row of an evaluation obeys what section `teacher` says."""

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.evaluation.answering import answer_by_teacher
from hfdistill.sections import TeacherConfig
from hfdistill.tasks import load_task


TASK = load_task({"name": "word_problems", "train": 0, "validation": 0, "test": 30})
QUESTIONS = TASK.questions()


def teacher(url: str, **settings) -> TeacherConfig:
    return TeacherConfig("stand-in/teacher", [url], **settings)


def test_limits_hold_and_the_next_call_goes_on(stand_in, tmp_path):
    endpoint = stand_in(latency=0.02)
    with pytest.raises(HFDistillError, match="stopped at the limit of teacher.max_requests .* 20 of 30"):
        answer_by_teacher(teacher(endpoint.url, concurrency=2, max_requests=10), TASK, QUESTIONS, tmp_path)
    seen = endpoint.control()
    assert seen["most"] <= 2
    probes = seen["answered"] - 10
    answers = answer_by_teacher(teacher(endpoint.url, concurrency=2), TASK, QUESTIONS, tmp_path)
    seen = endpoint.control()
    assert seen["answered"] == probes + 30 and seen["most"] <= 2
    assert len(answers) == 30 and all(answer.answer is not None for answer in answers)
    assert answer_by_teacher(teacher("http://127.0.0.1:9"), TASK, QUESTIONS, tmp_path) == answers


def test_money_runs_out(stand_in, tmp_path):
    endpoint = stand_in()
    dear = teacher(endpoint.url, concurrency=1, max_cost=1e-4, output_price=1.0)
    with pytest.raises(HFDistillError, match="teacher.max_cost"):
        answer_by_teacher(dear, TASK, QUESTIONS, tmp_path)


def test_what_failed_is_asked_for_again(stand_in, tmp_path):
    endpoint = stand_in(refuse=QUESTIONS[3].question)
    with pytest.raises(HFDistillError, match="1 of 30 .*Input validation error.*The same command asks for them again"):
        answer_by_teacher(teacher(endpoint.url), TASK, QUESTIONS, tmp_path)
    endpoint.control(refuse="")
    assert len(answer_by_teacher(teacher(endpoint.url), TASK, QUESTIONS, tmp_path)) == 30
