"""What labels know of their questions reaches the stages behind them."""

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.labels.dataset import labelled_dataset, write_dataset
from hfdistill.labels.questions import take_questions
from hfdistill.reward.triples import response_id
from hfdistill.rows import known_questions, read_rows
from hfdistill.tasks import Question, load_task


CHOICES = {"name": "generic", "answer": "choice"}
QUESTIONS = [
    Question("1", "Which is a fruit?", "train", ("apple", "rope"), "food"),
    Question("2", "Which is a tool?", "test", ("pear", "saw", "sea"), None),
]


def test_questions_and_golds_travel_in_the_labels(tmp_path):
    task = load_task(CHOICES)
    rows = [{"question_id": q.question_id, "response": "The answer is (B).", "confidence": "high"} for q in QUESTIONS]
    write_dataset(tmp_path, *labelled_dataset(QUESTIONS, rows, task), {"2": "B"})
    taken = take_questions(load_task(CHOICES), tmp_path)
    assert taken.questions() == QUESTIONS and taken.golds() == {}
    assert list(known_questions(read_rows(tmp_path, "questions"), taken).values()) == QUESTIONS
    assert take_questions(load_task(CHOICES), tmp_path, golds=True).golds() == {"2": "B"}


def test_without_options_there_is_no_column_of_them(tmp_path):
    asked = [Question("1", "1 + 1?", "train")]
    rows = [{"question_id": "1", "response": "The answer is 2.", "confidence": "high"}]
    write_dataset(tmp_path, *labelled_dataset(asked, rows, load_task({"name": "generic"})))
    assert "options" not in read_rows(tmp_path, "questions")[0]
    assert take_questions(load_task({"name": "generic"}), tmp_path).questions() == asked


def test_a_task_with_questions_keeps_them(tmp_path):
    task = load_task({"name": "word_problems", "train": 2, "validation": 1, "test": 1})
    assert take_questions(task, tmp_path) is task and len(task.questions()) == 4
    with pytest.raises(HFDistillError, match="has questions of its own"):
        task.adopt(QUESTIONS)


def test_a_response_without_a_temperature_has_a_name():
    assert response_id("teacher", {"question_id": "q", "temperature": None, "sample": 3}) == "teacher/q/unknown/3"
