"""Rows of files: every form that they come in gives the same rows, and what is broken is said."""

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.tasks import json_rows
from hfdistill.tasks.files import rows_of
from hfdistill.tasks.json_rows import BrokenRow


ROWS = [{"question": "Wie viel, „genau“?", "response": 'a "b"\nc, d; e'}, {"question": "x", "response": "[{}] \\"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


FORMS = {
    "lines.jsonl": LINES,
    "mark.jsonl": b"\xef\xbb\xbf" + LINES,
    "windows.jsonl": LINES.replace(b"\n", b"\r\n"),
    "array.json": json.dumps(ROWS).encode(),
    "indented.json": b"\n " + json.dumps(ROWS, indent=2).encode() + b"\n",
    "behind.json": "\n".join(json.dumps(row, indent=2, ensure_ascii=False) for row in ROWS).encode(),
    "lines.jsonl.gz": gzip.compress(LINES[:60]) + gzip.compress(LINES[60:]),
    "named_otherwise.json": gzip.compress(LINES),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_json(tmp_path, name):
    assert list(rows_of(write(tmp_path, name, FORMS[name]))) == ROWS


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("semicolons.csv", ";"), ("t.tsv", "\t")])
def test_tables(tmp_path, name, delimiter):
    with (tmp_path / name).open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file, delimiter=delimiter)
        table.writerows([["question", "response", "none"], *([*row.values(), ""] for row in ROWS)])
    assert list(rows_of(tmp_path / name)) == ROWS
    packed = write(tmp_path, name + ".gz", gzip.compress((tmp_path / name).read_bytes()))
    assert list(rows_of(packed)) == ROWS


def test_zstandard_and_parquet(tmp_path):
    with pa.CompressedOutputStream(str(tmp_path / "lines.jsonl.zst"), "zstd") as stream:
        stream.write(LINES)
    assert list(rows_of(tmp_path / "lines.jsonl.zst")) == ROWS
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert list(rows_of(tmp_path / "rows.parquet")) == ROWS


def test_broken_lines_are_rows_of_their_own(tmp_path):
    content = b'{broken\n{"n": NaN}\n[1]\n"text"\n\n{"n": "\xff"}\n{"n": 1}\n'
    rows = list(rows_of(write(tmp_path, "x.jsonl", content)))
    reasons = [row.reason if isinstance(row, BrokenRow) else row for row in rows]
    assert str(reasons[1]["n"]) == "nan" and reasons[5] == {"n": 1}
    assert [reasons[place] for place in (0, 2, 3, 4)] == ["not_json", "not_an_object", "not_an_object", "invalid_utf8"]
    (wide,) = rows_of(write(tmp_path, "x.csv", b"a,b\n1,2,3\n"))
    assert wide.reason == "too_many_cells"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("book.csv", b"PK\x03\x04xxxx", "an Excel workbook: unpack it, or save the sheet as CSV"),
        ("x.jsonl", '{"a": 1}'.encode("utf-16"), "text in UTF-16: save it in UTF-8"),
        ("x.jsonl.gz", gzip.compress(LINES)[:-12], "cannot be read"),
        ("x.json", b'[{"a": 1}, {"a": 2', "is not JSON, behind row 1"),
        ("x.json", b'[{"a": 1}', "ends within its array, behind row 1: it was cut off"),
        ("x.json", b'[{"a": "\xff"}]', "can't decode byte 0xff"),
        ("x.csv", b"a,b\n\xff,1\n", "cannot be read"),
    ],
    ids=["excel", "utf-16", "gzip, cut off", "row, cut off", "array, cut off", "no utf-8", "csv, no utf-8"],
)
def test_files_that_hold_no_rows_are_refused_in_a_sentence(tmp_path, name, content, said):
    with pytest.raises(HFDistillError, match=said):
        list(rows_of(write(tmp_path, name, content)))


def test_an_empty_file_has_no_rows(tmp_path):
    for name, content in (("x.jsonl", b""), ("x.csv", b""), ("x.json", b"\n \n"), ("x.json", b"[]")):
        assert list(rows_of(write(tmp_path, name, content))) == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=4)


@given(OBJECTS, st.sampled_from([None, 1]), st.integers(1, 40))
def test_arrays_are_read_alike_wherever_a_chunk_ends(tmp_path_factory, rows, indent, chunk):
    file = tmp_path_factory.getbasetemp() / "property.json"
    file.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "CHUNK", chunk)
        patch.setattr(json_rows, "LONGEST_LINE", chunk)
        assert list(rows_of(file)) == rows
