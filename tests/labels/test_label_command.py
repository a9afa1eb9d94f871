"""`hfdistill label` and `hfdistill extract` as processes: good rows, bad rows, exit statuses."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    import os

    command = [sys.executable, "-m", "hfdistill", *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=env, cwd=Path(__file__).parents[2])


def write(file: Path, rows: list) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


def questions(folder: Path, count: int = 4) -> str:
    rows = [{"question": f"What is {number} + 1?", "answer": f"#### {number + 1}"} for number in range(count)]
    write(folder / "train.jsonl", rows)
    write(folder / "test.jsonl", [{"question": "What is 100 + 1?", "answer": "#### 101"}])
    return f"{{name: gsm8k, path: {folder}}}"


def stored(folder: Path, config: str) -> list[dict]:
    return pq.read_table(folder / config).to_pylist()


def test_a_labelled_dataset_out_of_own_responses(tmp_path):
    task = questions(tmp_path)
    rows = [
        {
            "question": f"What  is {number} + 1?",
            "response": f"The answer is {number + (sample < 4)}.",
            "temperature": t,
        }
        for number in range(4)
        for t in (0.0, 1.0)
        for sample in range(5)
    ]
    out = tmp_path / "out"
    copy = write(
        tmp_path / "copy.jsonl", [{"question": "WHAT IS 2 + 1 ?", "answer": "3", "perturbation_type": "case"}]
    )
    label = ("label", "--task", task, "--responses", write(tmp_path / "r.jsonl", rows), "--output", out)
    said = run(*label, "--benchmarks", f"{{name: gsm_plus, path: {copy}}}")
    assert said.returncode == 0, said.stderr
    assert "40 responses to 4 questions" in said.stdout and "overlap with gsm8k test" in said.stdout
    asked = stored(out, "questions")
    assert [row["pseudo_label"] for row in asked] == ["1", "2", "3", "4"]
    assert {(row["votes"], row["voters"]) for row in asked} == {(4, 5)}
    responses = stored(out, "responses")
    assert [row["confidence"] for row in responses[:10]] == ["high"] * 5 + ["low"] * 5
    assert [row["label"] for row in responses[:5]] == ["correct"] * 4 + ["incorrect"]
    assert len(stored(out, "gold")) == 4
    manifest = json.loads((out / "hfdistill.json").read_text())
    assert manifest["metrics"]["pseudo_labels_right"]["value"] == 1.0
    assert manifest["metrics"]["labels_against_gold"]["correct"] == {"right": 32, "wrong": 0}
    overlaps = manifest["metrics"]["overlap"]
    assert overlaps["gsm8k test"]["exact"] == 0 and overlaps["gsm8k test"]["questions"] == 1
    # The benchmark's one question is a training question or a validation question by its hash.
    trained = any(row["split"] == "train" and "2 + 1" in row["question"] for row in asked)
    assert overlaps["gsm_plus test"]["exact"] == trained
    assert {file.name for file in (out / "plots").iterdir()} >= {"without_label.png", "labels_against_gold.png"}
    assert "plots/without_label.png" in (out / "README.md").read_text()
    assert not (tmp_path / "out.rejects.jsonl").exists()
    again = run("label", "--task", task, "--responses", tmp_path / "r.jsonl", "--output", out, "--threshold", "0.9")
    assert again.returncode == 0, again.stderr
    assert [row["pseudo_label"] for row in stored(out, "questions")] == [None] * 4


def test_bad_rows_are_kept_apart_with_their_numbers(tmp_path):
    task = questions(tmp_path)
    good = {"question_id": "gsm8k-train-0", "response": "The answer is 1.", "confidence": "high"}
    rows = [
        good,
        {**good, "response": None},
        {"question_id": "gsm8k-train-0", "confidence": "high"},
        {**good, "response": ["a", 5]},
        {**good, "response": 7},
        {**good, "question_id": "gsm8k-train-99"},
        {"question": "Who?", "response": "x"},
        {"response": "The answer is 1."},
        b"{broken",
        b'{"question_id": "gsm8k-train-0", "response": "\xff"}',
        b'"text"',
        {**good, "confidence": "medium"},
        {**good, "confidence": None, "temperature": -1},
        {**good, "confidence": None, "temperature": "hot"},
        {"question_id": "gsm8k-train-0", "response": "The answer is 2."},
        {"question_id": "gsm8k-train-1", "response": "The answer is 2."},
        {**good, "sample": "first"},
        b'{"question_id": "gsm8k-train-0", "response": "\\ud800"}',
    ]
    out, rejects = tmp_path / "out", tmp_path / "bad.jsonl"
    source = write(tmp_path / "r.jsonl", rows)
    said = run("label", "--task", task, "--responses", source, "--output", out, "--rejects", rejects)
    assert said.returncode == 1, said.stderr
    kept = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert sorted((row["row"], row["reason"]) for row in kept) == [
        (2, "no_response"),
        (3, "no_response"),
        (4, "response_not_text"),
        (5, "response_not_text"),
        (6, "unknown_question"),
        (7, "unknown_question"),
        (8, "no_question"),
        (9, "not_json"),
        (10, "invalid_utf8"),
        (11, "not_an_object"),
        (12, "bad_confidence"),
        (13, "bad_temperature"),
        (14, "bad_temperature"),
        (15, "mixed_voters"),
        (17, "bad_integer"),
        (18, "not_json"),
    ]
    assert "16 rows were rejected" in said.stderr and str(rejects) in said.stderr
    # The row of the list that is text, the good one, and the question without any confidence are there.
    assert [(row["question_id"], row["response"]) for row in stored(out, "responses")] == [
        ("gsm8k-train-0", "The answer is 1."),
        ("gsm8k-train-0", "a"),
        ("gsm8k-train-1", "The answer is 2."),
    ]
    assert "questions differ in their number of voters" in said.stdout


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        (["distilabel"], [{"instruction": "What is 0 + 1?", "generation": "The answer is 1.", "model_name": "m"}]),
        (
            ["openai_batch", "question_id=custom_id"],
            [
                {
                    "custom_id": "gsm8k-train-0",
                    "response": {
                        "body": {"model": "m", "choices": [{"message": {"content": "The answer is 1."}}] * 2}
                    },
                }
            ],
        ),
        (["lm_eval"], [{"doc": {"question": "What is 0 + 1?"}, "resps": [["The answer is 1.", "The answer is 1."]]}]),
        (["response=out.0.text", "question=q"], [{"q": "What is 0 + 1?", "out": [{"text": "The answer is 1."}]}]),
    ],
)
def test_columns_of_other_tools(tmp_path, columns, rows):
    task, out = questions(tmp_path), tmp_path / "out"
    source = write(tmp_path / "r.jsonl", rows)
    said = run("label", "--task", task, "--responses", source, "--output", out, "--columns", *columns)
    assert said.returncode == 0, said.stderr
    made = stored(out, "responses")
    assert {row["label"] for row in made} == {"correct"} and {row["confidence"] for row in made} == {"high"}
    assert len(made) == (2 if columns[0] in ("openai_batch", "lm_eval") else 1)


def test_parquet_and_a_task_without_questions_of_its_own(tmp_path):
    rows = [{"question": f"q{n % 2}", "responses": [f"The answer is {n % 2}."] * 3} for n in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
    out = tmp_path / "out"
    said = run(
        *("label", "--task", "generic", "--responses", tmp_path / "r.parquet", "--output", out),
        *("--columns", "response=responses", "--teacher", "some/teacher", "--license", "mit"),
    )
    assert said.returncode == 0, said.stderr
    assert [(row["pseudo_label"], row["voters"]) for row in stored(out, "questions")] == [("0", 6), ("1", 6)]
    assert "some/teacher" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "1.5"], "the threshold must be above 0 and at most 1, not 1.5"),
        (["--threshold", "0"], "the threshold must be above 0"),
        (["--labeler", "vots"], "unknown labeler 'vots', did you mean 'vote'"),
        (["--columns", "distilabl"], "did you mean 'distilabel'"),
        (["--columns", "respons=x"], "did you mean 'response'"),
        (["--task", "gsm8"], "unknown task 'gsm8', did you mean 'gsm8k'"),
        (["--task", "{name: gsm8k"], "no YAML mapping"),
        (["--responses", "nowhere.jsonl"], "no file nowhere.jsonl"),
        (["--responses", "EMPTY"], "it holds none"),
        (["--responses", "UNUSABLE"], "all 1 were rejected"),
        (["--output", "TAKEN"], "holds other files"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(tmp_path, arguments, message):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("mine")
    places = {
        "EMPTY": write(tmp_path / "empty.jsonl", []),
        "UNUSABLE": write(tmp_path / "unusable.jsonl", [{"response": "x"}]),
        "TAKEN": tmp_path / "taken",
    }
    options = {
        "--task": questions(tmp_path),
        "--responses": write(tmp_path / "r.jsonl", [{"question": "What is 0 + 1?", "response": "The answer is 1."}]),
        "--output": tmp_path / "out",
    }
    options[arguments[0]] = places.get(arguments[1], arguments[1])
    said = run("label", *[word for pair in options.items() for word in pair])
    assert said.returncode == 2, said.stdout + said.stderr
    assert message in said.stderr and "Traceback" not in said.stderr
    assert (tmp_path / "taken" / "thesis.tex").read_text() == "mine"


def test_extract_adds_answer_and_reason(tmp_path):
    rows = [
        {"id": 1, "response": "The answer is $1,000."},
        {"id": 2, "response": "Who knows."},
        {"id": 3},
        {"id": 4, "response": 5},
        b"\xff",
    ]
    out = tmp_path / "g.jsonl"
    said = run("extract", "--task", "gsm8k", "--input", write(tmp_path / "f.jsonl", rows), "--output", out)
    assert said.returncode == 1, said.stderr
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"id": 1, "response": "The answer is $1,000.", "answer": "1000", "reason": None},
        {"id": 2, "response": "Who knows.", "answer": None, "reason": "no_marker"},
    ]
    rejects = [json.loads(line) for line in (tmp_path / "g.jsonl.rejects.jsonl").read_text().splitlines()]
    assert [(row["row"], row["reason"]) for row in rejects] == [
        (3, "no_response"),
        (4, "response_not_text"),
        (5, "invalid_utf8"),
    ]


def test_extract_of_choices_needs_options(tmp_path):
    rows = [
        {"text": {"out": "The answer is (C)."}, "options": ["a", "b", "c"]},
        {"text": {"out": "The answer is (C)."}, "n_options": 2},
        {"text": {"out": "The answer is (C)."}},
        {"text": {"out": "The answer is (C)."}, "options": "abc"},
    ]
    out = tmp_path / "g.jsonl"
    source = write(tmp_path / "f.jsonl", rows)
    said = run("extract", "--task", "mmlu_pro", "--input", source, "--output", out, "--field", "text.out")
    assert said.returncode == 1, said.stderr
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["answer"], row["reason"]) for row in answers] == [("C", None), (None, "out_of_range")]
    assert "no_options: 2" in said.stderr


def test_tasks_are_listed_and_shown():
    said = run("tasks")
    assert said.returncode == 0 and "gsm_plus" in said.stdout and "llm_judge" in said.stdout
    shown = run("tasks", "{name: gsm8k, shots: 1}")
    assert "shots             1" in shown.stdout and "Let's break this down step by step!" in shown.stdout
    assert run("tasks", "gsm8").returncode == 2
