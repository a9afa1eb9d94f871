"""Rows of other people: places of columns, votes, questions made out of rows."""

from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.labels.checked import CheckedResponses
from hfdistill.labels.columns import column_mapping, found
from hfdistill.labels.foreign import RowReader, foreign_rows
from hfdistill.labels.matching import QuestionMatcher
from hfdistill.labels.rejects import RejectedRow
from hfdistill.tasks import load_task


def checked(tmp_path: Path, task: dict, rows: list[dict], columns: tuple[str, ...] = ()):
    made, rejected = load_task(task), []
    matcher = QuestionMatcher(made)
    responses = CheckedResponses(tmp_path / "responses.jsonl")
    responses.fill(iter(enumerate(rows, 1)), RowReader(column_mapping(columns)), matcher, rejected.append)
    return responses, matcher, [(row.row, row.reason) for row in rejected]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("a", [{"b": [{"c": 1}, {"c": 2}]}]),
        ("a.b.*.c", [1, 2]),
        ("a.b.1.c", [2]),
        ("a.b.7.c", []),
        ("a.x", []),
        ("d.e", [3]),
        ("a.b.*.c.*", []),
    ],
)
def test_places(path, values):
    assert found({"a": {"b": [{"c": 1}, {"c": 2}]}, "d.e": 3}, path) == values


def test_temperature_tells_who_votes(tmp_path):
    rows = [{"question": "q", "response": "r", "temperature": t} for t in (0, 0.3, 0.31, 1)]
    responses, _, rejected = checked(tmp_path, {"name": "generic"}, rows)
    assert [row["confidence"] for row in responses] == ["high", "high", "low", "low"] and not rejected
    assert [row["temperature"] for row in responses] == [0.0, 0.3, 0.31, 1.0]
    assert responses.voters() == {2: 1}


def test_integers_as_tables_write_them(tmp_path):
    rows = [{"question": "q", "response": "r", "sample": sample} for sample in ("3.0", " 4 ", 5.0, -6, "1e3", "3.5")]
    responses, _, rejected = checked(tmp_path, {"name": "generic"}, rows)
    assert [row["sample"] for row in responses] == [3, 4, 5, -6, 1000]
    assert rejected == [(6, "bad_integer")]
    (long,) = checked(tmp_path, {"name": "generic"}, [{"question": "q", "response": "r", "seed": str(2**62 + 1)}])[0]
    assert long["seed"] == 2**62 + 1


def test_all_vote_where_nothing_tells(tmp_path):
    responses, _, _ = checked(tmp_path, {"name": "generic"}, [{"question": "q", "response": "r"}] * 3)
    assert [row["confidence"] for row in responses] == ["high"] * 3
    assert responses.voters() == {3: 1}


def test_choices_need_options_of_the_row(tmp_path):
    rows = [
        {"question": "q", "response": "r", "options": ["a", "b"]},
        {"question": "other", "response": "r"},
        {"question": "third", "response": "r", "options": "ab"},
        {"question": "q", "response": "again"},
    ]
    responses, matcher, rejected = checked(tmp_path, {"name": "generic", "answer": "choice"}, rows)
    assert rejected == [(2, "no_options"), (3, "no_options")]
    assert [row["response"] for row in responses] == ["r", "again"]
    assert next(iter(matcher.by_id.values())).options == ("a", "b")


def test_ids_of_made_questions_depend_on_the_text_alone(tmp_path):
    rows = [{"question": "What  is it?", "response": "r"}, {"question": "What is it?", "response": "r"}]
    first, matcher, _ = checked(tmp_path, {"name": "generic"}, rows)
    assert len(matcher.by_id) == 1 and len(first.question_ids) == 1
    named = [{"question": "What is it?", "question_id": 17, "response": "r"}]
    assert checked(tmp_path, {"name": "generic"}, named)[0].question_ids == {"17"}


def test_files_of_a_folder_are_numbered_through(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
    (tmp_path / "b.jsonl").write_text("{\n")
    rows = list(foreign_rows(str(tmp_path)))
    assert rows[:2] == [(1, {"n": 1}), (2, {"n": 2})]
    assert isinstance(rows[2][1], RejectedRow) and rows[2][1].row == 3


def test_places_that_hold_no_rows(tmp_path):
    with pytest.raises(HFDistillError, match="holds no file of rows"):
        list(foreign_rows(str(tmp_path)))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(HFDistillError, match="no readable Parquet file"):
        list(foreign_rows(str(tmp_path / "x.parquet")))
    with pytest.raises(HFDistillError, match="no file a/b/c"):
        list(foreign_rows("a/b/c"))
