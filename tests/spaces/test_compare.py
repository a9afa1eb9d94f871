import http.server
import json
import shutil
import threading

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.space.compare import LONGEST_QUESTION, NOT_LOADED, NOT_SCORED, compare
from hfdistill.space.models import Models
from hfdistill.space.run import ShownRun
from hfdistill.space.settings import Settings
from hfdistill.space.teacher import NO_ANSWER


class Teacher(http.server.BaseHTTPRequestHandler):
    """As much of TGI as one question needs."""

    asked: list = []  # noqa: RUF012
    status = 200
    busy = 0  # requests refused before the first answer

    def do_GET(self):
        self._answer(200, {"model_id": "big/teacher", "max_total_tokens": 512, "max_concurrent_requests": 8})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((body, self.headers.get("Authorization")))
        text = {
            "generated_text": "\nStep 1: 1 + 1 = 2.\nThe answer is 2.",
            "details": {"finish_reason": "eos_token", "generated_tokens": 9},
        }
        Teacher.busy -= 1
        status = 429 if Teacher.busy >= 0 else self.status
        self._answer(status, text if status == 200 else {"error": "Model is overloaded"})

    def _answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for header, value in (("x-prompt-tokens", "9"), ("x-generated-tokens", "9")):
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def teacher():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Teacher)
    Teacher.asked, Teacher.status, Teacher.busy = [], 200, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def last(iterator):
    *_, final = iterator
    return final


def columns(comparison):
    return {column.role: column for column in comparison.columns}


def test_everybody_answers_a_training_question(run, models):
    question = run.examples()["train"][0]
    final = last(compare(run, models, question.question))
    assert [column.state for column in final.columns] == ["done"] * 4
    assert final.scoring == "done"
    assert final.vote == run.votes[question.question_id]
    for sample in final.samples():
        assert isinstance(sample.score, float)
        if sample.answer is None:
            assert sample.reward == -5.0
        elif run.task.same(sample.answer, final.vote.label):
            assert sample.reward == sample.score
        else:
            assert sample.reward == min(sample.score, 0.0)


def test_states_show_who_works(run):
    states = []
    for now in compare(run, Models(), run.examples()["train"][1].question):
        states.append([*(column.state for column in now.columns), now.scoring])
    assert states[0] == ["waiting"] * 5
    assert ["done", "working", "waiting", "waiting", "waiting"] in states
    assert states[-2][-1] == "working"
    assert states[-1] == ["done"] * 5


def test_greedy_answers_repeat_and_samples_differ(run, models):
    text = run.examples()["test"][0].question
    first, second = (last(compare(run, models, text)) for _ in range(2))
    assert [sample.text for sample in first.samples()] == [sample.text for sample in second.samples()]
    drawn = columns(last(compare(run, models, text, temperature=1.0, samples=4)))
    assert len(drawn["policy"].samples) == 4
    assert len({sample.text for sample in drawn["policy"].samples}) > 1


@pytest.mark.parametrize("text", [None, "", "  \n "])
def test_an_empty_question_is_refused(run, models, text):
    with pytest.raises(HFDistillError, match="Type a question first"):
        last(compare(run, models, text))


def test_a_question_of_too_many_characters_is_refused(run, models):
    with pytest.raises(HFDistillError, match="too long: it has 8,001 characters"):
        last(compare(run, models, "a" * (LONGEST_QUESTION + 1)))


def test_a_question_of_too_many_tokens_is_told_by_each_model(run, models):
    final = last(compare(run, models, "pens " * 200))
    for role in ("student", "warmup", "policy"):
        assert "takes" in columns(final)[role].note
        assert columns(final)[role].state == "failed"
    assert final.scoring == "absent"


def test_unknown_words_are_named(run, models):
    final = last(compare(run, models, "Tom has 7 giraffes. Buys 5. How many giraffes are there now?"))
    assert final.unknown_words == ["giraffes"]
    assert last(compare(run, models, run.examples()["train"][0].question)).unknown_words == []


def test_a_question_that_the_teacher_never_saw_says_so(run, models):
    final = last(compare(run, models, "Tom has 7 pens. Buys 5. How many pens are there now?"))
    assert columns(final)["teacher"].state == "absent"
    assert columns(final)["policy"].state == "done"
    assert final.scoring == "done"


def test_a_live_teacher_answers(run, models, tiny, teacher, monkeypatch):
    monkeypatch.setenv("TEACHER_TOKEN", "for the teacher")
    live = ShownRun(Settings(tiny, teacher_endpoint=teacher, teacher_token_env="TEACHER_TOKEN"))
    final = last(compare(live, models, "Tom has 1 pens. Buys 1. How many pens are there now?"))
    assert [sample.answer for sample in columns(final)["teacher"].samples] == ["2"]
    body, authorization = Teacher.asked[0]
    assert body["inputs"].startswith("Q: Tom has 1 pens.")
    assert body["parameters"]["do_sample"] is False
    assert authorization == "Bearer for the teacher"
    final = last(compare(live, models, "Tom has 1 pens.", temperature=0.5, samples=3))
    assert len(columns(final)["teacher"].samples) == 3


def test_a_busy_teacher_is_asked_again(models, tiny, teacher):
    Teacher.busy = 2
    live = ShownRun(Settings(tiny, teacher_endpoint=teacher))
    assert columns(last(compare(live, models, "Tom has 1 pens.")))["teacher"].state == "done"
    assert len(Teacher.asked) == 3


def test_no_token_goes_to_a_strange_endpoint(models, tiny, teacher, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    live = ShownRun(Settings(tiny, teacher_endpoint=teacher))
    last(compare(live, models, "Tom has 1 pens."))
    assert [authorization for _, authorization in Teacher.asked] == [None]


def test_a_busy_teacher_is_told_apart_from_a_dead_one(models, tiny, teacher):
    Teacher.status = 429
    live = ShownRun(Settings(tiny, teacher_endpoint=teacher))
    assert "busy or still starting" in columns(last(compare(live, models, "Tom has 1 pens.")))["teacher"].note
    dead = ShownRun(Settings(tiny, teacher_endpoint="http://127.0.0.1:9"))
    final = columns(last(compare(dead, models, "Tom has 1 pens.")))
    assert final["teacher"].state == "failed"
    assert final["teacher"].note == NO_ANSWER
    assert final["policy"].state == "done"


def test_missing_and_broken_models_leave_the_others_alone(tiny, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny + "-policy", broken)
    (broken / "model.safetensors").write_bytes(b"not a model")
    partly = ShownRun(Settings(tiny, artifacts={"policy": str(broken), "reward": str(tmp_path / "none")}))
    final = last(compare(partly, Models(), partly.examples()["train"][0].question))
    assert columns(final)["warmup"].state == "done"
    assert columns(final)["policy"].state == "failed"
    assert columns(final)["policy"].note == NOT_LOADED
    assert final.scoring == "failed"
    assert final.scoring_note == NOT_SCORED
