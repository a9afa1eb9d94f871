"""Responses of one's own, in the forms of four tools, through the five recipes: no source but their file is needed."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from accelerate.state import AcceleratorState

from hfdistill.cli import main
from hfdistill.rows import read_rows
from hfdistill.tasks.word_problems import problems, solution

from ..reward.test_recipes import make_base, recipe
from .short_runs import ON_CPU, SHORT_REINFORCEMENT


QUESTIONS, SAMPLES = 90, 6
Asked = list[tuple[str, str, list[str]]]


def asked() -> Asked:
    """Question, gold answer and responses, of which most are right."""
    rng = random.Random(0)
    rows = []
    for problem in itertools.islice(problems(0, "train"), QUESTIONS):
        right, hasty = (solution(problem.start, problem.changes, hasty=hasty) for hasty in (False, True))
        wrong = right.replace(f"answer is {problem.answer}.", f"answer is {problem.answer + 1}.")
        responses = [wrong if rng.random() < 0.1 else rng.choice([right, hasty]) for _ in range(SAMPLES)]
        rows.append((problem.text, str(problem.answer), responses))
    return rows


def write(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def json_lines(folder: Path, rows: Asked) -> list[str]:
    """No temperature, no model: all vote."""
    made = [{"question": text, "response": one, "gold": gold} for text, gold, responses in rows for one in responses]
    return ["--responses", str(write(folder / "mine.jsonl", made))]


def openai_batch(folder: Path, rows: Asked) -> list[str]:
    """A request a sample; its question stands in the file of requests alone, and no golds anywhere."""
    requests, replies = [], []
    for number, (text, _, responses) in enumerate(rows):
        for sample, one in enumerate(responses):
            identity = f"r-{number}-{sample}"
            asked = [{"role": "system", "content": "Be careful."}, {"role": "user", "content": text}]
            requests.append({"custom_id": identity, "body": {"model": "m", "temperature": 0.2, "messages": asked}})
            choice = {"index": 0, "message": {"role": "assistant", "content": one}, "finish_reason": "stop"}
            body = {"model": "m-2026", "choices": [choice], "usage": {"prompt_tokens": 9}}
            replies.append({"custom_id": identity, "response": {"status_code": 200, "body": body}, "error": None})
    names = write(folder / "output.jsonl", replies[::-1]), write(folder / "input.jsonl", requests)
    return ["--responses", str(names[0]), "--requests", str(names[1]), "--columns", "openai_batch"]


def lm_eval(folder: Path, rows: Asked) -> list[str]:
    """All responses once a filter."""
    made = [
        {
            "doc_id": number,
            "doc": {"question": text},
            "target": gold,
            "arguments": {"gen_args_0": {"arg_0": text, "arg_1": {"do_sample": True, "temperature": 0.7}}},
            "resps": [responses],
            "filter": name,
        }
        for name in ("strict", "lenient")
        for number, (text, gold, responses) in enumerate(rows)
    ]
    file = write(folder / "samples_mine.jsonl", made)
    return ["--responses", str(file), "--columns", "lm_eval", "--high_temperature", "0.7"]


def distilabel(folder: Path, rows: Asked) -> list[str]:
    made = [
        {"messages": [{"role": "user", "content": text}], "generations": responses, "model_name": "m", "label": gold}
        for text, gold, responses in rows
    ]
    file = write(folder / "distilabel.jsonl", made)
    return ["--responses", str(file), "--columns", "distilabel", "gold=label"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", [json_lines, openai_batch, lm_eval, distilabel])
def test_a_file_of_responses_makes_a_policy_and_a_table(tmp_path, monkeypatch, capsys, form: Callable):
    make_base(tmp_path / "base")
    task = {"name": "generic", "validation_share": 0.2, "test_share": 0.15, "max_new_tokens": 48}
    benchmark = {"name": "word_problems", "train": 1, "validation": 1, "test": 6}
    content = {
        "run": {"name": "run", "push": False, "output_dir": str(tmp_path)},
        "task": task,
        "teacher": {"model": "teacher"},
        "student": {"model": str(tmp_path / "base")},
        "warmup": {
            "num_train_epochs": 30,
            "learning_rate": 1e-2,
            "eval_strategy": "no",
            "save_strategy": "no",
            **ON_CPU,
        },
        **SHORT_REINFORCEMENT,
        "evaluate": {"benchmarks": [benchmark]},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    artifacts, rows = tmp_path / "artifacts", asked()

    place = ["--output", str(artifacts / "run-labels")]
    with pytest.raises(SystemExit) as ended:
        main(["label", "--task", str(config), *form(tmp_path, rows), *place])
    assert ended.value.code == 0, capsys.readouterr()
    # The label stage finds what is there, and has no one to ask.
    for name in ("label_teacher", "warm_up", "train_reward", "train_ppo", "evaluate"):
        AcceleratorState._reset_state(reset_partial_state=True)
        assert recipe(name, config, monkeypatch) == 0, f"{name}\n{capsys.readouterr()}"

    labelled = read_rows(artifacts / "run-labels", "questions")
    assert {row["voters"] for row in labelled} == {SAMPLES} and len(labelled) == QUESTIONS
    responses = read_rows(artifacts / "run-labels", "responses")
    assert len(responses) == QUESTIONS * SAMPLES
    tested = {row["question_id"] for row in labelled if row["split"] == "test"}
    triples = read_rows(artifacts / "run-triples", "responses")
    assert tested and not tested & {row["question_id"] for row in triples}
    assert (artifacts / "run-policy" / "model.safetensors").is_file()
    tables = json.loads((artifacts / "run-results" / "hfdistill.json").read_text())["metrics"]
    # Without golds the benchmark alone can be graded.
    graded = {"word_problems": 6} if form is openai_batch else {"generic": len(tested), "word_problems": 6}
    assert {name: table["Ours"]["n"] for name, table in tables.items()} == graded
