import argparse
import json

import pytest
import yaml

from hfdistill.commands import estimate as command
from hfdistill.config import Config, RunConfig, TeacherConfig
from hfdistill.errors import HFDistillError
from hfdistill.labels.config import LabelConfig
from hfdistill.runs.estimate import Rates, StudentRates, estimate, guess, rates_of
from hfdistill.tasks import load_task


TASK = {"name": "word_problems", "train": 90, "validation": 10, "test": 5}


def make_config(**settings):
    teacher = TeacherConfig("teacher", ["http://a", "http://b"], **settings)
    return Config(RunConfig("run"), TASK, teacher, None, LabelConfig(), {})


def test_the_papers_grid_on_a_hundred_questions():
    task = load_task(TASK)
    teacher, student, ppo = estimate(make_config(), task, Rates(4.0, 100.0, 1000.0, 2, ""), StudentRates(30, 500, 4))
    assert (teacher.requests, student.requests, ppo.requests) == (5100, 3000, 500)
    assert (teacher.completion_tokens, student.completion_tokens, ppo.completion_tokens) == (510_000, 300_000, 50_000)
    assert ppo.trained_tokens == pytest.approx(4 * (ppo.prompt_tokens + ppo.completion_tokens), abs=2)
    assert [row.hours for row in (student, ppo)] == [None, None]
    assert [row.kind for row in (teacher, student, ppo)] == ["labels", "triples", "policy"]
    characters = sum(len(task.prompt(q)) for q in task.questions() if q.split != "test")
    assert teacher.prompt_tokens == round(51 * characters / 4)
    assert teacher.hours == pytest.approx(5.1)
    assert teacher.cost is None
    assert student.prompt_tokens < teacher.prompt_tokens  # the student sees no worked examples


def test_prices_by_hour_and_by_token():
    task = load_task(TASK)
    rates = Rates(4.0, 100.0, 1000.0, 2, "")
    by_hour = estimate(make_config(gpu_hour_price=4.0), task, rates)[0]
    assert by_hour.cost == pytest.approx(5.1 * 2 * 4.0)
    by_token = estimate(make_config(input_price=1.0, output_price=2.0), task, rates)[0]
    assert by_token.cost == pytest.approx((by_token.prompt_tokens + 2 * by_token.completion_tokens) / 1e6)


def test_the_student_takes_the_hours_that_its_rates_give():
    student = StudentRates(30, 500, 4, tokens_per_second=100.0, episodes_per_second=0.5, hour_price=3.0)
    _, samples, ppo = estimate(make_config(), load_task(TASK), Rates(4.0, 100.0, 1000.0, 2, ""), student)
    assert samples.hours == pytest.approx(3000 * 100 / 100 / 3600)
    assert ppo.hours == pytest.approx(500 / 0.5 / 3600)
    assert (samples.cost, ppo.cost) == (pytest.approx(3 * samples.hours), pytest.approx(3 * ppo.hours))


def test_rates_of_an_earlier_run(tmp_path):
    made = {
        "triples": {
            "metrics": {"train": {"responses": 900}, "validation": {"responses": 100}},
            "cost": {"seconds": 50},
        },
        "policy": {"metrics": {"episodes": 640}, "cost": {"seconds": 320}},
    }
    with pytest.raises(HFDistillError, match="old-triples"):
        rates_of(str(tmp_path / "old"), 80.0)
    for kind, manifest in made.items():
        (tmp_path / f"old-{kind}").mkdir()
        (tmp_path / f"old-{kind}" / "hfdistill.json").write_text(json.dumps({"format": 2, "files": {}, **manifest}))
    assert rates_of(str(tmp_path / "old"), 80.0) == (1600.0, 2.0)


def test_without_asking_there_is_no_time():
    rates = guess(load_task(TASK), LabelConfig(max_new_tokens=64), 1)
    assert rates.completion_tokens == 32
    assert estimate(make_config(), load_task(TASK), rates)[0].hours is None


def run(tmp_path, capsys, *words, endpoints, **more):
    sections = {"run": {"name": "run"}, "task": TASK, "teacher": {"model": "teacher", "endpoints": endpoints}, **more}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(sections))
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["estimate", str(tmp_path / "run.yaml"), *words])
    assert args.func(args) is None
    return capsys.readouterr().out


def test_the_command_measures_at_the_endpoint(tmp_path, capsys, stand_in):
    endpoint = stand_in(latency=0.05)
    out = run(tmp_path, capsys, "--json", "--set", "teacher.gpu_hour_price=4", endpoints=[endpoint.url])
    made = json.loads(out)
    assert made["rows"][0]["requests"] == 5100
    assert made["rates"]["completion_tokens"] == pytest.approx(14, abs=1)
    assert made["rows"][0]["hours"] > 0
    assert endpoint.control()["answered"] < 100


def test_the_command_in_words(tmp_path, capsys):
    out = run(tmp_path, capsys, "--questions", "0", endpoints=[])
    assert "5,100" in out
    assert "nothing was asked" in out
    assert "For its cost set teacher.gpu_hour_price" in out


def test_the_command_tells_what_it_does_not_know_of_the_student(tmp_path, capsys):
    words = ("--questions", "0", "--set", "ppo.total_episodes=320", "reward.samples=10")
    out = run(tmp_path, capsys, *words, endpoints=[], student={"model": "student"})
    assert "1,000" in out and "320" in out
    for flag in ("--student_tokens_per_second", "--ppo_episodes_per_second", "--student_hour_price"):
        assert flag in out
    rates = ("--student_tokens_per_second", "500", "--ppo_episodes_per_second", "2", "--student_hour_price", "3")
    out = run(tmp_path, capsys, *rates, *words, "--json", endpoints=[], student={"model": "student"})
    _, samples, ppo = json.loads(out)["rows"]
    assert ppo["hours"] == pytest.approx(320 / 2 / 3600)
    assert samples["cost"] == pytest.approx(3 * samples["hours"])


def test_an_endpoint_that_is_not_there_is_one_clear_error(tmp_path, capsys):
    with pytest.raises(HFDistillError, match="cannot be reached"):
        run(tmp_path, capsys, endpoints=["http://127.0.0.1:9"])


def test_a_judge_is_counted_for_teacher_and_student(tmp_path, capsys):
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({"question": f"Why {number}?"}) + "\n" for number in range(20))
    )
    task = {"name": "generic", "answer": "open", "path": str(tmp_path / "q.jsonl"), "max_new_tokens": 64}
    label = {"labeler": "llm_judge", "labeler_options": {"verdicts": 3, "endpoint": "http://judge"}}
    teacher = {"model": "teacher", "input_price": 1.0, "output_price": 2.0}
    words = ("--questions", "0", "--set", "ppo.total_episodes=320", "reward.samples=10")
    more = {"task": task, "label": label, "teacher": teacher, "student": {"model": "student"}}
    rows = json.loads(run(tmp_path, capsys, *words, "--json", endpoints=[], **more))["rows"]
    assert [row["kind"] for row in rows] == ["labels", "labels: judge", "triples", "triples: judge", "policy"]
    _, teachers, _, students, _ = rows
    assert (teachers["requests"], students["requests"]) == (20 * 51 * 3, 20 * 10 * 3)
    assert teachers["completion_tokens"] == 20 * 51 * 3 * 128
    # Each prompt holds the judge's instructions and a response of 32 tokens.
    assert teachers["prompt_tokens"] > 20 * 51 * 3 * (32 + 50) and teachers["cost"] > students["cost"] > 0
    assert "A judge's replies are taken" in run(tmp_path, capsys, *words, endpoints=[], **more)
    with pytest.raises(HFDistillError, match="no two responses have one final answer"):
        run(tmp_path, capsys, *words, endpoints=[], **{**more, "label": {}})
