"""The judge behind a real chat endpoint on loopback: grading, comparing, busy servers and silent replies."""

import asyncio
import dataclasses
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from hfdistill.errors import HFDistillError
from hfdistill.labels.dataset import labelled_dataset
from hfdistill.labels.labelers import load_labeler
from hfdistill.labels.labelling import label_and_write
from hfdistill.sections import TeacherConfig
from hfdistill.tasks import Question, load_task


class Judge:
    """Likes answers that say `please`; may refuse every so many requests as too busy, and mumbles of `mumble`."""

    def __init__(self):
        self.asked: list[dict] = []
        self.busy_every = 0
        self.status = 200
        self.fails_after: int | None = None
        self.seconds = 0.0
        self.finish_reason = "stop"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.at_once = 64
        self.tokens: set[str | None] = set()
        self.seen_at_once = self.active = 0
        routes = [Route("/v1/chat/completions", self.chat, methods=["POST"]), Route("/info", self.info)]
        app = Starlette(routes=routes)
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> "Judge":
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *error) -> None:
        self.server.should_exit = True
        self.thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def info(self, request):
        return JSONResponse({"model_id": "judge", "max_concurrent_requests": self.at_once, "max_total_tokens": 4096})

    async def chat(self, request):
        body = await request.json()
        self.asked.append(body)
        self.tokens.add(request.headers.get("Authorization"))
        if self.status != 200:
            return JSONResponse({"error": "no"}, self.status)
        if self.busy_every and len(self.asked) % self.busy_every == 0:
            return JSONResponse({"error": "overloaded"}, 429)
        if self.fails_after is not None and len(self.asked) > self.fails_after:
            return JSONResponse({"error": "no"}, 401)
        self.active += 1
        self.seen_at_once = max(self.active, self.seen_at_once)
        await asyncio.sleep(self.seconds)
        self.active -= 1
        reply = self.reply(body["messages"][0]["content"], body.get("seed", 0))
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": self.finish_reason}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return JSONResponse({"id": "1", "created": 1, "model": "judge", "choices": [choice], "usage": usage})

    def reply(self, prompt: str, seed: int) -> str:
        if "[Answer B]" in prompt:
            first, second = prompt.partition("[Answer A]")[2].split("[Answer B]")
            return "Verdict: A" if "please" in first or "please" not in second else "Verdict: B"
        if "mumble" in prompt:
            return "Hard to say."
        return f"A polite answer would help. **Verdict:** {'yes' if 'please' in prompt else 'no'}"


@pytest.fixture
def judge():
    with Judge() as judge:
        yield judge


TASK = load_task({"name": "generic", "answer": "open"})
QUESTIONS = [Question("q0", "Write to Ann.", "train"), Question("q1", "Write to Bob.", "train")]
TEXTS = {"q0": ["Ann, please come.", "Come.", "mumble", "Come."], "q1": ["Go.", "Leave."]}
ROWS = [
    {"question_id": question_id, "response": text, "confidence": "high"}
    for question_id, texts in TEXTS.items()
    for text in texts
]


def test_grading_an_open_ended_task(judge):
    judge.busy_every = 4
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url, "verdicts": 3})
    made, asked = labelled_dataset(QUESTIONS, ROWS, TASK, labeler=labeler)
    assert [row["label"] for row in made] == ["correct", "incorrect", None, "incorrect", "incorrect", "incorrect"]
    assert [(row["pseudo_label"], row["failed"]) for row in asked] == [(None, False), (None, True)]
    assert asked[0]["voters"] == 9 and asked[0]["votes"] == 3
    answered = len(judge.asked) - len(judge.asked) // 4
    assert answered == 3 * 5, "equal texts are judged once"
    assert len({body["seed"] for body in judge.asked}) == 15


def test_comparing_in_both_orders(judge):
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url + "/v1", "mode": "compare", "verdicts": 2})
    made, _ = labelled_dataset(QUESTIONS, ROWS, TASK, labeler=labeler)
    # Between two answers that it likes alike the judge always takes the first: in both orders that cancels out.
    assert [row["label"] for row in made] == ["correct", "incorrect", "incorrect", "incorrect", None, None]
    assert "[Answer B]" in judge.asked[0]["messages"][0]["content"]


def test_a_pseudo_label_where_the_task_has_answers(judge):
    task = load_task({"name": "generic"})
    rows = [
        {"question_id": "q0", "response": text, "confidence": "high"}
        for text in ("please: The answer is 5.", "please! The answer is 5.0.", "The answer is 6.")
    ]
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url, "verdicts": 1})
    made, asked = labelled_dataset(QUESTIONS[:1], rows, task, labeler=labeler)
    assert asked[0]["pseudo_label"] == "5" and not asked[0]["failed"]
    assert [row["label"] for row in made] == ["correct", "correct", "incorrect"]


def test_the_command(judge, tmp_path):
    asked = {question.question_id: question.question for question in QUESTIONS}
    rows = [{"question": asked[row["question_id"]], "response": row["response"]} for row in ROWS]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "hfdistill", "label", "--task", "{name: generic, answer: open}"]
    command += ["--responses", tmp_path / "r.jsonl", "--output", tmp_path / "out"]
    command += ["--labeler", f"{{name: llm_judge, endpoint: '{judge.url}', verdicts: 1}}"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=Path(__file__).parents[2])
    assert said.returncode == 0, said.stderr
    assert '"progress": "judge", "done": 5, "total": 5' in said.stdout
    made = pq.read_table(tmp_path / "out" / "responses").to_pylist()
    assert [row["label"] for row in made] == ["correct", "incorrect", None, "incorrect", "incorrect", "incorrect"]


def own_rows(folder: Path, count: int) -> Path:
    asked = {question.question_id: question.question for question in QUESTIONS}
    rows = [{"question": asked[f"q{n % 2}"], "response": f"Please or please not, {n}."} for n in range(count)]
    (folder / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "r.jsonl"


def requests(judge: Judge) -> list[tuple[str, int]]:
    return [(body["messages"][0]["content"], body["seed"]) for body in judge.asked]


@pytest.mark.parametrize("mode", ["grade", "compare"])
def test_what_was_answered_is_not_asked_again(judge, tmp_path, mode):
    def label(**options) -> list[str | None]:
        section = {"name": "llm_judge", "endpoint": judge.url, "mode": mode, "verdicts": 3, **options}
        impatient = TeacherConfig("teacher", concurrency=2, patience=1)
        made = (tmp_path / "made", QUESTIONS, ROWS, TASK, load_labeler(section))
        label_and_write(*made, teacher=impatient, verdicts=tmp_path / "verdicts")
        return pq.read_table(tmp_path / "made" / "responses")["label"].to_pylist()

    judge.fails_after = 4
    with pytest.raises(HFDistillError, match="the judge: no endpoint has answered for 1 s: .* 401: no"):
        label()
    answered = requests(judge)[:4]
    judge.asked.clear()
    judge.fails_after = None
    labels = label()
    assert not set(requests(judge)) & set(answered)
    every = [*requests(judge), *answered]
    assert len(every) == len(set(every)) and len(judge.asked) > 3
    # Nor for another threshold, but for another try or another judge.
    judge.asked.clear()
    assert label() == labels and label(threshold=0.9) and judge.asked == []
    label(verdicts=4)
    assert len(judge.asked) == (5 if mode == "grade" else 0)
    label(model="another")
    assert len(judge.asked) > 7


def test_a_killed_command_goes_on(judge, tmp_path):
    judge.seconds, judge.at_once = 0.1, 2
    command = [sys.executable, "-m", "hfdistill", "label", "--task", "{name: generic, answer: open}"]
    command += ["--responses", own_rows(tmp_path, 80), "--output", tmp_path / "out"]
    command += ["--labeler", f"{{name: llm_judge, endpoint: '{judge.url}', verdicts: 1}}"]
    killed = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    while len(judge.asked) < 20:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    assert len(judge.asked) < 80 and not (tmp_path / "out").exists()
    said = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=Path(__file__).parents[2])
    assert said.returncode == 0, said.stderr
    assert len(list((tmp_path / "out.verdicts").glob("verdicts-*.sqlite"))) == 1
    # At most what was under way when the process died, two requests, and what waited a moment for the disk is asked
    # a second time.
    assert len(set(requests(judge))) == 80 and len(judge.asked) <= 84


def test_prompts_come_from_the_task(judge):
    template = "Is this kind? {response} (to: {question})"
    task = load_task({"name": "generic", "answer": "open", "judge_template": template})
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url, "verdicts": 1})
    list(labelled_dataset(QUESTIONS[:1], ROWS[:1], task, labeler=labeler)[0])
    assert judge.asked[0]["messages"][0]["content"] == "Is this kind? Ann, please come. (to: Write to Ann.)"


def test_a_judge_that_refuses_or_is_not_there(judge):
    judge.status, judge.at_once = 401, 1
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url})
    with pytest.raises(HFDistillError, match=f"the judge: endpoint {judge.url} answered 401: no: check the URL"):
        labelled_dataset(QUESTIONS[:1], ROWS[:1], TASK, labeler=labeler)
    assert len(judge.asked) <= 2  # the two of a probe
    labeler = load_labeler({"name": "llm_judge", "endpoint": "http://127.0.0.1:9"})
    with pytest.raises(HFDistillError, match="the judge: endpoint http://127.0.0.1:9 cannot be reached"):
        labelled_dataset(QUESTIONS[:1], ROWS[:1], TASK, labeler=labeler)
    with pytest.raises(HFDistillError, match="nobody is there to judge"):
        labelled_dataset(QUESTIONS[:1], ROWS[:1], TASK, labeler=load_labeler({"name": "llm_judge"}))


def test_the_teacher_judges_by_itself_within_its_limits(judge, tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHERS", "for the teacher")
    monkeypatch.setenv("JUDGES", "for the judge")
    judge.seconds = 0.01
    teacher = TeacherConfig("big/teacher", [judge.url], kind="tgi", api_key_env="TEACHERS", concurrency=2)

    def labels(section=(), folder="itself", **settings) -> list[str | None]:
        labeler = load_labeler({"name": "llm_judge", "verdicts": 3, **dict(section)})
        who = dataclasses.replace(teacher, **settings)
        made = labelled_dataset(QUESTIONS, ROWS, TASK, labeler=labeler, teacher=who, folder=tmp_path / folder)[0]
        return [row["label"] for row in made]

    with pytest.raises(HFDistillError, match="the judge: stopped at the limit of teacher.max_requests"):
        labels(max_requests=6)
    assert len(judge.asked) == 6
    first = labels()
    assert judge.seen_at_once == 2 and len(judge.asked) == 15 and judge.tokens == {"Bearer for the teacher"}
    # Another endpoint gets its own token or none; what it replies depends on no concurrency.
    asked = set(requests(judge))
    for section, token in (({}, None), ({"api_key_env": "JUDGES"}, "Bearer for the judge")):
        judge.asked.clear()
        judge.tokens.clear()
        assert labels({"endpoint": judge.url, **section}, str(token), concurrency=16) == first
        assert judge.tokens == {token} and set(requests(judge)) == asked
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"for the teacher" not in kept and b"for the judge" not in kept


def test_none_of_the_first_replies_can_be_read(judge, tmp_path):
    rows = [{**ROWS[0], "response": f"mumble {number}"} for number in range(50)]
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url, "verdicts": 3})
    made = QUESTIONS[:1], rows, TASK
    said = r"none of its first 2\d replies can be read \(2\d without a verdict\): its prompt asks for yes or no"
    with pytest.raises(HFDistillError, match=said):
        labelled_dataset(*made, labeler=labeler, folder=tmp_path)
    first = len(judge.asked)
    assert first <= 22  # the last two are a probe's
    with pytest.raises(HFDistillError, match=said):
        labelled_dataset(*made, labeler=labeler, folder=tmp_path)
    assert len(judge.asked) == first
    judge.finish_reason = "length"
    rows = [{**ROWS[0], "response": f"please {number}"} for number in range(3)]
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url, "verdicts": 3})
    with pytest.raises(
        HFDistillError, match=r"\(\d cut off by max_new_tokens\).* raise the judge's max_new_tokens \(256\)"
    ):
        labelled_dataset(QUESTIONS[:1], rows, TASK, labeler=labeler)


def test_what_it_took_and_came_to(judge):
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url, "verdicts": 2})
    blank = [*ROWS, {**ROWS[0], "response": " "}]
    made, _ = labelled_dataset(QUESTIONS, blank, TASK, labeler=labeler)
    assert [row["label"] for row in made][-1] == "incorrect"
    told = labeler.figures()
    assert told["replies"] == told["requests"] == len(judge.asked) == 10 and told["model"] == "judge"
    assert told["unreadable"] == {"no_verdict": 2} and "A polite" not in str(told)
    assert labeler.requests(55) == 110


def test_scores_where_the_task_asks_for_them(judge):
    judge.reply = lambda prompt, seed: f"[[{3 if 'please' in prompt else 1}]]"
    task = load_task(
        {"name": "generic", "answer": "open", "judge_template": "Score {response} from 1 to 3: [[score]]"}
    )
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url, "verdicts": 1, "good_from": 3})
    made, _ = labelled_dataset(QUESTIONS[:1], ROWS[:2], task, labeler=labeler)
    assert [row["label"] for row in made] == ["correct", "incorrect"]


def test_at_temperature_zero_one_reply_is_all_verdicts(judge):
    labeler = load_labeler({"name": "llm_judge", "endpoint": judge.url, "verdicts": 3, "temperature": 0})
    made, asked = labelled_dataset(QUESTIONS[:1], ROWS[:2], TASK, labeler=labeler)
    assert [row["label"] for row in made] == ["correct", "incorrect"] and asked[0]["voters"] == 6
    assert len(judge.asked) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "rank"}, "'grade' or 'compare'"),
        ({"verdicts": 0}, "verdicts must be at least one"),
        ({"temperature": 3}, "between 0 and 2"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least one"),
        ({"tries": 0}, "unknown option of labeler llm_judge"),
        ({"threshold": 0.4}, "0.5 or more"),
        ({"api_key_env": "NO_SUCH_VARIABLE_HERE"}, "which is not set"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(HFDistillError, match=message):
        load_labeler({"name": "llm_judge", "endpoint": "http://127.0.0.1:9", **options})
