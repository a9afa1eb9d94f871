"""The labelled dataset: rows, columns, streaming, and what a labeler sees."""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow.parquet as pq
import pytest

from hfdistill.errors import HFDistillError
from hfdistill.labels.dataset import labelled_dataset, write_dataset
from hfdistill.labels.labeler import Labeler, Verdict
from hfdistill.labels.labelers import installed_labelers, load_labeler
from hfdistill.labels.vote import VoteLabeler
from hfdistill.rows import RESPONSE_COLUMNS
from hfdistill.tasks import Question, load_task


TASK = load_task({"name": "generic"})
QUESTIONS = [Question(f"q{number}", f"What is {number}?", "train") for number in range(3)]


def responses(question_id: str, high: list, low: list) -> list[dict]:
    rows = [("high", 0.1, answer) for answer in high] + [("low", 0.8, answer) for answer in low]
    return [
        {
            "question_id": question_id,
            "response": "Hm." if answer is None else f"So.\nThe answer is {answer}.",
            "confidence": confidence,
            "temperature": temperature,
            "sample": number,
        }
        for number, (confidence, temperature, answer) in enumerate(rows)
    ]


ROWS = [
    *responses("q0", [7] * 15 + [8] * 5, [7, 7, 9, None]),
    *responses("q1", [7] * 14 + [None] * 6, [7, 8]),
    *responses("q2", [], [5, 5]),
]


def test_labels_propagate_to_the_low_confidence_responses():
    made, asked = labelled_dataset(QUESTIONS, ROWS, TASK)
    made = list(made)
    assert [row["label"] for row in made[:24]] == ["correct"] * 15 + ["incorrect"] * 5 + ["correct"] * 2 + [
        "incorrect"
    ] * 2
    assert {row["label"] for row in made[24:]} == {None}
    assert [(row["pseudo_label"], row["votes"], row["voters"], row["failed"]) for row in asked] == [
        ("7", 15, 20, False),
        (None, 14, 20, True),
        (None, 0, 0, True),
    ]
    assert asked[0]["vote_share"] == 0.75 and asked[2]["vote_share"] == 0.0
    assert made[0]["question"] == "What is 0?" and made[23]["answer"] is None
    assert [list(row) for row in made] == [list(RESPONSE_COLUMNS)] * len(made)


def test_the_threshold_is_the_one_given():
    asked = labelled_dataset(QUESTIONS, ROWS, TASK, VoteLabeler(0.65))[1]
    assert [row["pseudo_label"] for row in asked] == ["7", "7", None]


def test_files_hold_the_rows_and_golds_stand_apart(tmp_path):
    made, asked = labelled_dataset(QUESTIONS, ROWS, TASK)
    counts = write_dataset(tmp_path, made, asked, {"q0": "7", "elsewhere": "1"})
    assert counts == {"responses": 48, "questions": 3, "gold": 1}
    stored = pq.read_table(tmp_path / "responses").to_pylist()
    assert stored == list(labelled_dataset(QUESTIONS, ROWS, TASK)[0])
    assert pq.read_table(tmp_path / "gold").to_pylist() == [{"question_id": "q0", "gold": "7"}]
    for config in ("responses", "questions"):
        assert "gold" not in pq.read_schema(tmp_path / config / "train-00000-of-00001.parquet").names


def test_without_golds_there_is_no_gold_config(tmp_path):
    made, asked = labelled_dataset(QUESTIONS, ROWS, TASK)
    assert "gold" not in write_dataset(tmp_path, made, asked, {})
    assert not (tmp_path / "gold").exists()


def test_the_same_rows_make_the_same_bytes(tmp_path):
    for place in ("a", "b"):
        made, asked = labelled_dataset(QUESTIONS, ROWS, TASK)
        write_dataset(tmp_path / place, made, asked)
    for config in ("responses", "questions"):
        files = [tmp_path / place / config / "train-00000-of-00001.parquet" for place in ("a", "b")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_an_iterator_and_an_unknown_question_are_refused():
    with pytest.raises(TypeError, match="read twice"):
        labelled_dataset(QUESTIONS, iter(ROWS), TASK)
    with pytest.raises(HFDistillError, match="'other', which was not asked"):
        labelled_dataset(QUESTIONS, [{"question_id": "other", "response": "", "confidence": "high"}], TASK)


@dataclass
class Longest(Labeler):
    """A labeler of someone else's: the longest response is right."""

    name: ClassVar[str] = "longest"
    reads_text: ClassVar[bool] = True

    def prepare(self, asked, task, teacher, folder):
        self.most = [max(len(candidate.response) for candidate in candidates) for _, candidates in asked]

    def label(self, question, candidates, task):
        most = max(len(candidate.response) for candidate in candidates)
        labels = tuple("correct" if len(candidate.response) == most else "incorrect" for candidate in candidates)
        return Verdict(None, 1.0, 1, 1, labels)


def test_a_labeler_that_reads_the_texts():
    rows = [
        {"question_id": question.question_id, "response": text, "confidence": "high"}
        for question in QUESTIONS
        for text in ("short", "the longest one", "short")
    ]
    labeler = Longest()
    made, asked = labelled_dataset(QUESTIONS, rows, TASK, labeler=labeler)
    assert labeler.most == [15, 15, 15]
    assert [row["label"] for row in made] == ["incorrect", "correct", "incorrect"] * 3
    assert not any(row["failed"] for row in asked)


def test_labelers_by_name():
    assert {"vote", "llm_judge"} <= set(installed_labelers())
    assert load_labeler({"name": "vote", "threshold": 0.9}).threshold == 0.9
    with pytest.raises(HFDistillError, match="unknown labeler 'vot', did you mean 'vote'"):
        load_labeler({"name": "vot"})
    with pytest.raises(HFDistillError, match="option of labeler llm_judge: 'endpiont', did you mean 'endpoint'"):
        load_labeler({"name": "llm_judge", "endpiont": "http://127.0.0.1:9"})
    with pytest.raises(HFDistillError, match="threshold"):
        load_labeler({"name": "vote", "threshold": 2})
