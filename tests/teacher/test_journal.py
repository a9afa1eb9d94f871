import hashlib
import random
import sqlite3
import subprocess
import sys
from contextlib import closing

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.rows import write_parquet
from hfdistill.teacher.journal import FAILED, PARKED, Journal, Response


FINGERPRINT = {"model_id": "teacher", "model_sha": "abc", "prompts": "123"}


def samples(count):
    return [
        Response(
            f"q{index % 7}", round(0.1 * (index % 5), 1), index // 35, f"text {index}", "eos_token", 3, index, index
        )
        for index in range(count)
    ]


def test_what_is_added_is_there_once(tmp_path):
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        journal.add(samples(100))
        journal.add([Response("q0", 0.0, 0, "another text")])
        assert len(list(journal.rows())) == 100
        assert journal.of("q0")[0].text == "text 0"
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        assert len(list(journal.rows())) == 100
        assert journal.keys("q0")[(0.0, 0)] == "done"


def test_another_fingerprint_is_refused_and_the_difference_named(tmp_path):
    Journal(tmp_path / "journal.sqlite", FINGERPRINT).close()
    with pytest.raises(HFDistillError, match=r"model_sha was 'abc' and is 'def'.*top_p was None and is 0.9"):
        Journal(tmp_path / "journal.sqlite", {**FINGERPRINT, "model_sha": "def", "top_p": 0.9})
    Journal(tmp_path / "journal.sqlite", FINGERPRINT).close()


def test_a_second_process_is_refused(tmp_path):
    script = "import sys; from hfdistill.teacher.journal import Journal; Journal(sys.argv[1])"
    command = [sys.executable, "-c", script, str(tmp_path / "journal.sqlite")]
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT):
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "another process is sampling into" in second.stderr
    assert subprocess.run(command, timeout=60).returncode == 0


def test_a_second_process_that_waits_finds_what_the_first_drew(tmp_path):
    script = (
        "import sys; from hfdistill.teacher.journal import Journal; print(len(Journal(sys.argv[1], wait=True).rows()))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "journal.sqlite")]
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert second.stdout.readline().startswith("waiting for the process that is sampling into ")
        journal.add(samples(3))
    assert second.communicate(timeout=60)[0] == "3\n"


def test_a_journal_that_may_not_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "journal.sqlite.lock").mkdir()
    with pytest.raises(HFDistillError, match="cannot be opened"):
        Journal(tmp_path / "journal.sqlite", FINGERPRINT)


def test_a_file_that_is_no_journal_is_one_clear_error(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(HFDistillError, match="cannot be read"):
        Journal(tmp_path / "journal.sqlite", FINGERPRINT)


def test_rows_come_sorted_by_key_across_pages(tmp_path):
    rows = [Response(f"q{index:04d}", temperature, 0, "x") for index in range(700) for temperature in (0.0, 0.7, 1.0)]
    random.Random(0).shuffle(rows)
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        journal.add(rows)
        keys = [(row.question_id, row.temperature, row.sample) for row in journal.rows()]
    assert keys == sorted(keys)
    assert len(keys) == 2100


def test_failed_and_parked_rows_hold_no_text_and_are_asked_for_again(tmp_path):
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        journal.add(
            [
                Response("a", 0.0, 0, status=FAILED, reason="too long"),
                Response("a", 0.1, 0, status=PARKED, reason="500"),
            ]
        )
        journal.add([Response("a", 0.2, 0, "fine")])
        assert [sample.text for sample in journal.of("a")] == ["fine"]
        assert journal.counts() == {(0.0, FAILED): 1, (0.1, PARKED): 1, (0.2, "done"): 1}
        assert journal.reasons() == [("500", 1), ("too long", 1)]
        assert journal.retry_failed() == 2
        assert journal.keys("a") == {(0.2, 0): "done"}


def test_what_another_model_answered_is_set_apart_and_taken_back_once(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path, FINGERPRINT) as journal:
        journal.add([Response("a", 0.0, 0, "1", source="x"), Response("a", 0.0, 1, "2", source="y")])
        position = journal.position()
        journal.add([Response("a", 0.0, 2, "3", source="x", prompt_tokens=5), Response("a", 0.0, 3, "4", source="y")])
        assert journal.set_apart_after(position, "x", "other") == 1
        journal.set_apart([Response("a", 0.0, 4, "5", prompt_tokens=2, model="third")])
        assert [row.text for row in journal.of("a")] == ["1", "2", "4"]
        assert journal.apart() == {"other": 1, "third": 1} and journal.tokens() == (7, 0)
    with Journal(path, FINGERPRINT) as journal:
        journal.add([Response("a", 0.0, 2, status=PARKED, reason="answered by another")])
        assert journal.take_back("other") == 1 and journal.take_back("other") == 0
        assert [(row.text, row.model) for row in journal.of("a")][2:] == [("3", "other"), ("4", None)]
        assert journal.apart() == {"third": 1} and journal.tokens() == (7, 0)


def test_a_row_that_was_asked_for_again_stays_when_another_models_is_taken_back(tmp_path):
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        journal.set_apart([Response("a", 0.0, 0, "theirs", model="other")])
        journal.add([Response("a", 0.0, 0, "own")])
        journal.take_back("other")
        assert [row.text for row in journal.of("a")] == ["own"]


def test_a_journal_of_an_earlier_version_is_gone_on_with(tmp_path):
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        journal.add([Response("a", 0.0, 0, "1")])
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as old:
        for column in ("token_ids", "thought", "model"):
            old.execute(f"ALTER TABLE samples DROP COLUMN {column}")
        old.execute("DROP TABLE apart")
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        journal.add([Response("a", 0.0, 1, "2", thought="2?", model="other")])
        assert [(row.text, row.thought, row.model) for row in journal.of("a")] == [
            ("1", None, None),
            ("2", "2?", "other"),
        ]


@pytest.mark.parametrize(
    ("texts", "opens"),
    [
        (["3?</think>3"], True),
        (["<think>3?</think>3", "4"], False),
        (["cut off", "1", "3?</think>3 <think>"], True),
        (["4"], False),
    ],
)
def test_a_thought_that_closes_without_an_opening_was_opened_in_the_prompt(tmp_path, texts, opens):
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        journal.add(Response("a", 0.0, sample, text) for sample, text in enumerate(texts))
        assert journal.opens_thoughts() is opens


def test_positions_are_never_used_twice(tmp_path):
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT) as journal:
        journal.add([Response("a", 0.0, 0, "1", source="x")])
        first = journal.position()
        journal.set_apart_after(0, "x", "other")
        journal.add([Response("a", 0.0, 1, "2")])
        assert journal.rows_after(first, 10)[0][0].text == "2"


KEYS = st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 0.1, 0.7, 1.0]), st.integers(0, 4))


@settings(max_examples=25, deadline=None)
@given(keys=st.lists(KEYS, unique=True, min_size=1), order=st.randoms(use_true_random=False), group=st.integers(1, 7))
def test_exported_bytes_do_not_depend_on_the_order_of_arrival(tmp_path_factory, keys, order, group):
    schema = pa.schema([("key", pa.string()), ("text", pa.string())])
    digests = set()
    for arrival in (sorted(keys), order.sample(keys, len(keys))):
        folder = tmp_path_factory.mktemp("journal")
        with Journal(folder / "journal.sqlite", FINGERPRINT) as journal:
            for first in range(0, len(arrival), group):
                journal.add(Response(*key, text=f"text of {key}") for key in arrival[first : first + group])
            rows = (
                {"key": f"{row.question_id}{row.temperature}{row.sample}", "text": row.text} for row in journal.rows()
            )
            assert write_parquet(folder / "rows.parquet", rows, schema, group=3) == len(keys)
        digests.add(hashlib.sha256((folder / "rows.parquet").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_journal_is_durable_by_its_settings(tmp_path):
    with Journal(tmp_path / "journal.sqlite", FINGERPRINT):
        connection = sqlite3.connect(tmp_path / "journal.sqlite")
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()
