"""Datasets that are written and read: declared columns, equal bytes, flat memory, and bad input."""

import hashlib
import itertools

import pyarrow.parquet as pq
import pytest

from hfdistill.errors import HFDistillError
from hfdistill.kinds import KINDS, LABELS, RESULTS, TRIPLES
from hfdistill.rows import COLUMNS, ROLES, known_questions, read_rows, scan_rows, write_rows
from hfdistill.tasks import load_task


def test_every_dataset_of_the_table_has_its_columns_declared():
    assert {name: tuple(configs) for name, configs in COLUMNS.items()} == {
        kind.name: kind.configs for kind in KINDS.values() if kind.repo_type == "dataset"
    }


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [{"question_id": str(n), "gold": f"{n % 7}"} for n in range(25_000)]
    assert write_rows(tmp_path, LABELS, "gold", iter(rows)) == len(rows)
    file = tmp_path / "gold" / "train-00000-of-00001.parquet"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert pq.ParquetFile(file).num_row_groups == 3
    assert read_rows(tmp_path, "gold") == list(scan_rows(tmp_path, "gold")) == rows
    assert read_rows(tmp_path, "gold", ["gold"], {"question_id": "12"}) == [{"gold": "5"}]
    assert list(scan_rows(tmp_path, "gold", ["gold"])) == [{"gold": row["gold"]} for row in rows]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    write_rows(tmp_path, LABELS, "gold", rows)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest


def test_what_a_row_lacks_is_null_and_what_no_column_is_for_is_left_out(tmp_path):
    write_rows(tmp_path, RESULTS, "results", [{"task": "t", "row": "Ours", "value": 0.5, "n": 2, "categories": {}}])
    assert (tmp_path / "results" / "test-00000-of-00001.parquet").is_file()
    (row,) = read_rows(tmp_path, "results")
    assert list(row) == list(COLUMNS["results"]["results"])
    assert (row["value"], row["n"], row["answerable"]) == (0.5, 2, None)


def test_columns_can_be_chosen_and_a_dataset_without_rows_keeps_them(tmp_path):
    chosen = ["question_id", ROLES[0], f"{ROLES[0]}_finished"]
    assert write_rows(tmp_path, TRIPLES, "triples", [], chosen) == 0
    assert read_rows(tmp_path, "triples") == []
    assert pq.read_schema(tmp_path / "triples" / "train-00000-of-00001.parquet").names == chosen


def test_a_file_that_is_cut_off_is_not_taken_for_a_whole_one(tmp_path):
    def rows():
        yield from ({"question_id": str(n), "gold": "1"} for n in range(10_001))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path, LABELS, "gold", rows())
    with pytest.raises(HFDistillError, match="no config 'gold'"):
        read_rows(tmp_path, "gold")


def test_rows_are_asked_for_as_they_are_written(tmp_path):
    numbers = itertools.count()
    write_rows(tmp_path, LABELS, "gold", ({"question_id": str(next(numbers)), "gold": "1"} for _ in range(20_000)))
    scanned = scan_rows(tmp_path, "gold")
    assert next(scanned)["question_id"] == "0"


@pytest.mark.parametrize("read", [read_rows, scan_rows])
def test_a_dataset_of_another_kind(tmp_path, read):
    write_rows(tmp_path, LABELS, "gold", [])
    with pytest.raises(HFDistillError, match="no config 'questions'"):
        read(tmp_path, "questions")
    with pytest.raises(HFDistillError, match="has no column 'label'"):
        read(tmp_path, "gold", ["question_id", "label"])


def test_questions_of_rows_are_those_of_the_task():
    task = load_task({"name": "word_problems", "train": 3, "validation": 1, "test": 1})
    asked = [vars(question) for question in reversed(task.questions())]
    assert list(known_questions(asked, task).values()) == task.questions()[::-1]
    for changed in ({"question_id": "gone"}, {"question": "another text?"}):
        with pytest.raises(HFDistillError, match="is not in the task"):
            known_questions([{**asked[0], **changed}], task)
