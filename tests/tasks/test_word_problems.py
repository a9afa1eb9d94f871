"""Generated word problems: reproducible, apart by use, and rightly solved."""

import itertools

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.tasks import load_task
from hfdistill.tasks.word_problems import bucket, problems, solution


def take(seed: int, use: str, count: int = 300):
    return list(itertools.islice(problems(seed, use), count))


def test_a_seed_gives_the_same_problems_again():
    assert take(7, "train") == take(7, "train") != take(8, "train")


def test_no_question_serves_two_uses_whatever_the_seeds():
    texts = {use: {p.text for seed in range(4) for p in take(seed, use)} for use in ("train", "test", "corpus")}
    assert not texts["train"] & texts["test"]
    assert not texts["corpus"] & (texts["train"] | texts["test"])


@pytest.mark.parametrize("hasty", [False, True])
def test_worked_solutions_are_right_and_readable(hasty):
    task = load_task({"name": "word_problems", "train": 200, "validation": 0, "test": 0})
    golds = task.golds()
    for question, problem in zip(task.questions(), problems(0, "train"), strict=False):
        assert question.question == problem.text
        text = solution(problem.start, problem.changes, hasty)
        assert task.extract(text, question).value == golds[question.question_id] == str(problem.answer)
        for step in text.split("\nStep ")[1:]:
            left, _, right = step.split(":", 1)[1].split(".")[0].partition("=")
            assert eval(left) == int(right)


def test_a_hasty_solution_is_the_answer_alone():
    assert (
        solution(7, (5, -3, 6)) == "\nStep 1: 7 + 5 = 12.\nStep 2: 12 - 3 = 9.\nStep 3: 9 + 6 = 15.\nThe answer is 15."
    )
    assert solution(7, (5, -3, 6), hasty=True) == "\nThe answer is 15."


def test_prompts_with_and_without_examples():
    task = load_task({"name": "word_problems", "train": 1, "validation": 0, "test": 0})
    (question,) = task.questions()
    bare = f"Q: {question.question}\nLet's break this down step by step!"
    assert task.prompt(question) == bare
    assert task.prompt(question, shots=2).count("The answer is") == 2
    assert task.prompt(question, shots=2).endswith("\n\n" + bare)


def test_splits_are_as_large_as_asked_and_by_hash():
    task = load_task({"name": "word_problems", "train": 30, "validation": 20, "test": 10})
    counts = {split: [q for q in task.questions() if q.split == split] for split in ("train", "validation", "test")}
    assert {split: len(questions) for split, questions in counts.items()} == {
        "train": 30,
        "validation": 20,
        "test": 10,
    }
    assert {bucket(q.question) for q in counts["test"]} == {0}


def test_more_than_there_are_is_an_error():
    task = load_task({"name": "word_problems", "train": 9999, "operations": [1, 1], "largest_total": 1})
    with pytest.raises(HFDistillError, match="different train problems of 1 to 1 operations"):
        task.questions()
    with pytest.raises(HFDistillError, match="task.operations"):
        load_task({"name": "word_problems", "operations": [3, 1]})
