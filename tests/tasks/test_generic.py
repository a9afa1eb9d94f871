"""The task that needs no code."""

import json

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.tasks import load_task


def write(folder, **splits):
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def test_numbers(tmp_path):
    train = [{"problem": f"What is {number} + 1?", "solution": f"...#### {number + 1:,}"} for number in range(1000)]
    path = write(tmp_path, train=train, heldout=[{"problem": "What is 2 / 4?", "solution": "0.5"}])
    task = load_task(
        {
            "name": "generic",
            "path": path,
            "question_column": "problem",
            "answer_column": "solution",
            "test_split": "heldout",
        }
    )
    questions = task.questions()
    assert {question.split for question in questions} == {"train", "validation", "test"}
    assert 60 < sum(question.split == "validation" for question in questions) < 140
    golds = task.golds()
    assert golds["train-999"] == "1000" and golds["heldout-0"] == "1/2"
    question = questions[-1]
    assert task.prompt(question) == "Q: What is 2 / 4?\nLet's break this down step by step!"
    assert task.correct(task.extract("The answer is 1/2.", question).value, "1/2")


@pytest.mark.parametrize("gold", ["B", "b", 1, "1", "Rome"])
def test_choices(tmp_path, gold):
    row = {"question": "Capital of Italy?", "choices": ["Paris", "Rome", "Bern"], "answer": gold, "area": "cities"}
    section = {
        "name": "generic",
        "path": write(tmp_path, train=[row]),
        "answer": "choice",
        "options_column": "choices",
    }
    task = load_task({**section, "answer_column": "answer", "category_column": "area"})
    question = task.questions()[0]
    assert question.options == ("Paris", "Rome", "Bern") and question.category == "cities"
    assert task.golds() == {"train-0": "B"}
    assert task.prompt(question).startswith(
        "Question: Capital of Italy?\nOptions:\n(A) Paris\n(B) Rome\n(C) Bern\nAnswer:"
    )
    assert task.extract("The answer is (B).", question).value == "B"
    assert task.extract("The answer is (D).", question).reason == "out_of_range"
    assert task.stop == ("\nQuestion:",)


def test_phrases_and_expressions(tmp_path):
    path = write(tmp_path, train=[{"question": "q", "answer": "New  York"}])
    task = load_task({"name": "generic", "path": path, "answer": "exact", "answer_column": "answer"})
    assert task.correct(task.extract("The answer is new york.", task.questions()[0]).value, task.golds()["train-0"])
    path = write(tmp_path, train=[{"question": "q", "answer": "so \\boxed{\\frac{1}{2}}"}])
    task = load_task({"name": "generic", "path": path, "answer": "math", "answer_column": "answer"})
    assert task.golds() == {"train-0": "\\frac{1}{2}"}
    assert task.correct(task.extract("The answer is $0.5$.", task.questions()[0]).value, task.golds()["train-0"])


def test_worked_examples_and_templates():
    section = {
        "name": "generic",
        "prompt_template": "### {question}\n>",
        "examples": [{"question": "1 + 1 {question}?", "response": "The answer is 2."}],
        "shots": 1,
    }
    task = load_task(section)
    question = task.question("2 + 2?", "train", "x")
    assert task.prompt(question) == "### 1 + 1 {question}?\n>\nThe answer is 2.\n### 2 + 2?\n>"
    assert task.prompt(question, shots=0) == "### 2 + 2?\n>"
    assert task.questions() == [] and task.golds() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": "numbr"}, "unknown kind of answer 'numbr', did you mean 'number'"),
        ({"answer": "choice", "dataset": "a/b"}, "options_column"),
        ({"prompt_template": "no place"}, "must hold {question}"),
        ({"prompt_template": "{question} "}, "must not end in a space"),
        ({"shots": 2}, "shots: 2, but the task section lists 0 examples"),
        ({"examples": [{"question": "q"}]}, "example 0 of task generic has no 'response'"),
        ({"validation_share": 1.0}, "share from 0 to below 1"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(HFDistillError, match=message):
        load_task({"name": "generic", **options})


def test_mistakes_in_rows(tmp_path):
    path = write(tmp_path, train=[{"question": "q", "id": "x"}, {"question": "r", "id": "x"}])
    with pytest.raises(HFDistillError, match="repeats ids"):
        load_task({"name": "generic", "path": path, "id_column": "id"}).questions()
    with pytest.raises(HFDistillError, match="no column 'problem'; it has id, question"):
        load_task({"name": "generic", "path": path, "question_column": "problem"}).questions()
    path = write(tmp_path, train=[{"question": None}])
    with pytest.raises(HFDistillError, match="the question is None, not a text"):
        load_task({"name": "generic", "path": path}).questions()
