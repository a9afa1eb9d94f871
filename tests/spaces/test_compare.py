import asyncio
import http.server
import json
import shutil
import threading
import time

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.space.compare import LONGEST_QUESTION, NOT_LOADED, NOT_SCORED, compare
from hfdistill.space.models import Models
from hfdistill.space.run import ShownRun
from hfdistill.space.settings import Settings
from hfdistill.space.visitors import NO_TEACHER


STUDENTS = ("student", "warmup", "policy")


class Teacher(http.server.BaseHTTPRequestHandler):
    """As much of TGI as one question needs."""

    asked: list = []  # noqa: RUF012
    status = 200
    delay = 0.0  # seconds until an answer
    busy = 0  # requests refused before the first answer

    def do_GET(self):
        self._answer(200, {"model_id": "big/teacher", "max_total_tokens": 512, "max_concurrent_requests": 8})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((body, self.headers.get("Authorization")))
        time.sleep(self.delay)
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
    server.daemon_threads = True
    Teacher.asked, Teacher.status, Teacher.busy, Teacher.delay = [], 200, 0, 0.0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def last(comparisons):
    async def look():
        async for comparison in comparisons:
            final = comparison
        return final

    return asyncio.run(look())


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
    async def look():
        comparisons = compare(run, Models(), run.examples()["train"][1].question)
        return [[*(column.state for column in now.columns), now.scoring] async for now in comparisons]

    states = asyncio.run(look())
    assert states[0] == ["waiting"] * 5
    assert states[-1] == ["done"] * 5
    order = ["waiting", "working", "done"]
    for column in zip(*(state[:4] for state in states), strict=True):
        assert [order.index(state) for state in column] == sorted(order.index(state) for state in column)


def test_a_hanging_teacher_holds_up_nobody_and_stops_at_a_word(run, models, tiny, teacher):
    Teacher.delay = 60
    live = ShownRun(Settings(tiny, teacher_endpoint=teacher))

    async def look():
        stop = asyncio.Event()
        async for now in compare(live, models, "Tom has 1 pens. Buys 1. How many pens are there now?", stop=stop):
            found = columns(now)
            judged = [found[role].samples and found[role].samples[0].score is not None for role in STUDENTS]
            if all(judged) and not stop.is_set():
                assert found["teacher"].state == "working"
                stop.set()
        assert columns(now)["teacher"].state == "stopped"
        assert now.scoring == "done"
        while models.turns("teacher").busy:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(look(), 60))


def test_who_leaves_frees_the_lane(run, models, tiny, teacher):
    Teacher.delay = 60
    live = ShownRun(Settings(tiny, teacher_endpoint=teacher))

    async def look():
        comparisons = compare(live, models, "Tom has 2 pens. Buys 1. How many pens are there now?")
        async for now in comparisons:
            if columns(now)["teacher"].state == "working":
                break
        await comparisons.aclose()
        while any(turns.busy for turns in models.lanes.values()):
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(look(), 60))


def test_many_ask_at_once_and_each_gets_an_answer_to_its_own(run, models):
    texts = [
        f"Tom has {first} pens. Buys {second}. How many pens are there now?" for first in (1, 2) for second in (3, 4)
    ]

    async def one(text):
        notes = set()
        async for now in compare(run, models, text):
            notes |= {column.note for column in now.columns}
        return now, notes

    async def all_of_them():
        return await asyncio.gather(*map(one, texts))

    found = asyncio.run(all_of_them())
    assert [now.question.question for now, _ in found] == texts
    assert all(columns(now)[role].state == "done" for now, _ in found for role in STUDENTS)
    assert any("before you" in note for _, notes in found for note in notes)


def test_stored_answers_serve_without_a_model(tiny):
    stored = ShownRun(Settings(tiny, stored_only=True))
    models = Models()
    question = stored.examples()["test"][0]
    final = last(compare(stored, models, question.question))
    assert final.stored_only
    assert not models.loaded
    assert [column.state for column in final.columns] == ["done"] * 4
    assert "as it answered in the evaluation" in final.columns[1].what
    with pytest.raises(HFDistillError, match="not among the stored ones"):
        last(compare(stored, models, "What is new?"))


def test_a_model_that_cannot_be_loaded_shows_what_is_stored(tiny, tmp_path):
    partly = ShownRun(Settings(tiny, artifacts={"policy": str(tmp_path / "none")}))
    final = columns(last(compare(partly, Models(), partly.examples()["test"][0].question)))
    assert final["policy"].state == "done"
    assert "as it answered in the evaluation" in final["policy"].what


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


def test_a_busy_teacher_is_told_apart_from_one_that_refuses_and_a_dead_one(models, tiny, teacher):
    Teacher.status = 429
    live = ShownRun(Settings(tiny, teacher_endpoint=teacher))
    assert "busy or still starting" in columns(last(compare(live, models, "Tom has 1 pens.")))["teacher"].note
    Teacher.status = 422
    assert "refuses this question" in columns(last(compare(live, models, "Tom has 1 pens.")))["teacher"].note
    dead = ShownRun(Settings(tiny, teacher_endpoint="http://127.0.0.1:9"))
    final = columns(last(compare(dead, models, "Tom has 1 pens.")))
    assert final["teacher"].state == "failed"
    assert final["teacher"].note == NO_TEACHER
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
