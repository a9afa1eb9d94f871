import argparse
import json

import pytest
import yaml

from hfdistill.commands import estimate as command
from hfdistill.config import Config, RunConfig, TeacherConfig
from hfdistill.errors import HFDistillError
from hfdistill.tasks import load_task
from hfdistill.teacher.config import LabelConfig
from hfdistill.teacher.estimate import Rates, estimate, guess


TASK = {"name": "word_problems", "train": 90, "validation": 10, "test": 5}


def make_config(**settings):
    return Config(
        RunConfig("run"), TASK, TeacherConfig("teacher", ["http://a", "http://b"]), None, LabelConfig(**settings), {}
    )


def test_the_papers_grid_on_a_hundred_questions():
    task = load_task(TASK)
    rows = estimate(make_config(), task, Rates(4.0, 100.0, 1000.0, 2, ""), samples=30, episodes=500)
    teacher, student, ppo = rows
    assert (teacher.requests, student.requests, ppo.requests) == (5100, 2700, 500)
    assert teacher.completion_tokens == 510_000
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


def test_without_asking_there_is_no_time():
    rates = guess(load_task(TASK), LabelConfig(max_new_tokens=64), 1)
    assert rates.completion_tokens == 32
    assert estimate(make_config(), load_task(TASK), rates)[0].hours is None


def run(tmp_path, capsys, *words, endpoints):
    sections = {"run": {"name": "run"}, "task": TASK, "teacher": {"model": "teacher", "endpoints": endpoints}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(sections))
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["estimate", str(tmp_path / "run.yaml"), *words])
    assert args.func(args) == 0
    return capsys.readouterr().out


def test_the_command_measures_at_the_endpoint(tmp_path, capsys, stand_in):
    endpoint = stand_in(latency=0.05)
    out = run(tmp_path, capsys, "--json", "--set", "label.gpu_hour_price=4", endpoints=[endpoint.url])
    made = json.loads(out)
    assert made["rows"][0]["requests"] == 5100
    assert made["rates"]["completion_tokens"] == pytest.approx(14, abs=1)
    assert made["rows"][0]["hours"] > 0
    assert endpoint.control()["answered"] < 100


def test_the_command_in_words(tmp_path, capsys):
    out = run(tmp_path, capsys, "--questions", "0", endpoints=[])
    assert "5,100" in out
    assert "nothing was asked" in out
    assert "No price is known" in out


def test_an_endpoint_that_is_not_there_is_one_clear_error(tmp_path, capsys):
    with pytest.raises(HFDistillError, match="cannot be reached"):
        run(tmp_path, capsys, endpoints=["http://127.0.0.1:9"])
