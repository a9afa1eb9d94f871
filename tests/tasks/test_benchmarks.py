"""The benchmarks' own files: every row loads, keeps its split, and its gold is read right."""

import json
from collections import Counter
from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.tasks import Question, load_task
from hfdistill.tasks.base import split_of


EXAMPLES = str(Path(__file__).parents[1] / "data" / "mmlu_pro_examples")


def rows(data: str, name: str) -> list[dict]:
    return [json.loads(line) for line in (Path(data) / name).read_text(encoding="utf-8").splitlines()]


def test_gsm8k_gold_solutions_all_extract_to_their_gold(data):
    task = load_task({"name": "gsm8k", "path": data})
    questions, golds = task.questions(), task.golds()
    assert Counter(question.split for question in questions) == {"train": 6703, "validation": 770, "test": 1319}
    solutions = rows(data, "gsm8k_train.jsonl") + rows(data, "gsm8k_test.jsonl")
    wrong = []
    for question, row in zip(questions, solutions, strict=True):
        gold = row["answer"].rpartition("#### ")[2].replace(",", "")
        assert golds[question.question_id] == str(int(gold))
        reasoning = row["answer"].rpartition("####")[0]
        for response in (row["answer"], f"{reasoning}The answer is ${gold}.\n\nQ: What next?\nThe answer is 3."):
            answer = task.extract(response, question)
            if answer.value is None or not task.correct(answer.value, golds[question.question_id]):
                wrong.append((question.question_id, response[-60:], answer))
    assert wrong == []


def test_gsm_plus_golds_all_load_and_extract(data):
    task = load_task({"name": "gsm_plus", "path": data})
    questions, golds = task.questions(), task.golds()
    assert len(questions) == len(golds) == 2400
    assert {question.split for question in questions} == {"test"}
    assert Counter(Counter(question.category for question in questions).values()) == {300: 8}
    unanswerable = [question for question in questions if golds[question.question_id] == "none"]
    assert len(unanswerable) == 300
    assert {question.category for question in unanswerable} == {"critical thinking"}
    fractions = sum("/" in gold for gold in golds.values())
    assert fractions == 161 - whole_decimals(data)
    for question, row in zip(questions, rows(data, "gsmplus_testmini.jsonl"), strict=True):
        answer = task.extract(f"Step 1: x.\nThe answer is {row['answer']}.", question).value
        assert task.correct(answer, golds[question.question_id]), (row["answer"], answer)


def whole_decimals(data: str) -> int:
    """Golds written as a decimal whose value is whole."""
    answers = [row["answer"] for row in rows(data, "gsmplus_testmini.jsonl")]
    return sum("." in answer and float(answer) == int(float(answer)) for answer in answers)


def test_gsm_plus_unanswerable_is_right_without_an_answer(data):
    task = load_task({"name": "gsm_plus", "path": data})
    assert task.correct(None, "none")
    assert not task.correct("5", "none")
    assert not task.correct(None, "5")
    question = task.questions()[0]
    says_so = task.extract("The price is missing, so the answer is that it cannot be determined.", question)
    assert task.correct(says_so.value, "none")


def test_mmlu_pro_sample_loads_splits_and_extracts(data):
    task = load_task({"name": "mmlu_pro", "path": data})
    questions, golds = task.questions(), task.golds()
    assert len(questions) == len(golds) == 1500
    assert Counter(question.split for question in questions) == {"train": 1134, "validation": 142, "test": 224}
    assert sum(len(question.options) < 10 for question in questions) == 249
    for question in questions:
        gold = golds[question.question_id]
        text = question.options["ABCDEFGHIJ".index(gold)]
        for response in (f"The answer is ({gold}).", f"Answer: {gold}. {text}", f"the answer is **{gold}. {text}**"):
            assert task.extract(response, question).value == gold, (response, question)
        beyond = "ABCDEFGHIJKL"[len(question.options)]
        assert task.extract(f"The answer is ({beyond}).", question).reason == "out_of_range"


def test_splits_depend_on_the_text_alone(data):
    questions = load_task({"name": "gsm8k", "path": data}).questions()
    for question in questions[:200]:
        assert split_of(f"  {question.question}\n", 0.1) == question.split
    tenth = sum(split_of(f"question {number}", 0.1) == "validation" for number in range(20_000))
    assert 1_850 < tenth < 2_150
    parts = Counter(split_of(f"question {number}", 0.1, 0.15) for number in range(20_000))
    assert 2_800 < parts["test"] < 3_200 and 1_550 < parts["validation"] < 1_850


def test_the_prompt_of_figure_8(data):
    task = load_task({"name": "gsm8k", "path": data})
    question = Question("x", " How many? ", "train")
    prompt = task.prompt(question)
    assert prompt.startswith("Q:\nThere are 15 trees in the grove.")
    assert prompt.count("A:\nLet's break this down step by step!\nStep 1: ") == 3
    assert prompt.endswith("The answer is 39.\nQ: How many?\nLet's break this down step by step!")
    assert task.prompt(question, shots=0) == "Q: How many?\nLet's break this down step by step!"
    assert task.stop == ("\nQ:", "\nQuestion:")
    with pytest.raises(HFDistillError, match="3 worked examples"):
        task.prompt(question, shots=4)


def test_the_prompt_of_figure_9():
    task = load_task({"name": "mmlu_pro", "path": EXAMPLES})
    question = task.questions()[0]
    prompt = task.prompt(question)
    assert prompt.count("Question: ") == 3 and prompt.count("\nOptions:\n(A) ") == 3
    assert "Answer: Let's break this down step by step!\nHalf of 4" in prompt
    assert "think step by step" not in prompt
    assert prompt.endswith(
        "Question: What is 2 + 2?\nOptions:\n(A) 3\n(B) 4\n(C) 5\nAnswer:\nLet's break this down step by step!"
    )
    assert task.prompt(question, shots=0).startswith("Question: What is 2 + 2?")


def test_mmlu_pro_says_what_its_examples_need(data):
    task = load_task({"name": "mmlu_pro", "path": data})
    with pytest.raises(HFDistillError, match="validation.jsonl or set shots: 0"):
        task.prompt(task.questions()[0])
    lone = Question("x", "What?", "test", ("a", "b"), "alchemy")
    with pytest.raises(HFDistillError, match="0 worked examples of 'alchemy'"):
        load_task({"name": "mmlu_pro", "path": EXAMPLES}).prompt(lone)
    with pytest.raises(HFDistillError, match="no options"):
        task.extract("The answer is (A).", Question("x", "What?", "test"))
