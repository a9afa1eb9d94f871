"""Reading the tables that ablations leave: order, what is missing, what is no table."""

import json

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.report.tables import read_table, read_tables

from .made_tables import write_table


ROW = {"name": "Ours", "note": "the method", "baseline": False, "seeds": {}}


def test_tables_are_told_in_the_reports_order_and_seeds_in_theirs(tmp_path):
    seeds = {str(seed): {"results": "a/b", "row": "Ours", "artifacts": {}} for seed in (10, 2)}
    for name in ("rm", "another", "noise", "main"):
        folder = write_table(tmp_path, name, name, (2, 10), [{**ROW, "seeds": seeds}], [["Ours", "Ours"]])
    tables = read_tables(folder)
    assert [table.table for table in tables] == ["main", "noise", "rm", "another"]
    assert list(tables[0].rows[0].seeds) == [2, 10]
    assert tables[0].comparisons == (("Ours", "Ours"),)


def test_a_row_of_reward_models_has_no_results(tmp_path):
    made = {"2": {"artifacts": {"reward": "a/r"}}}
    folder = write_table(tmp_path, "rm", "Reward models", (2,), [{**ROW, "seeds": made}], [])
    assert read_table(folder / "rm.json").rows[0].seeds[2].results is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 9}, "is of format 9"),
        ({"rows": [{}]}, "is no table of ablations"),
        ({"seeds": None}, "is no table of ablations"),
    ],
)
def test_what_is_no_table_is_told_with_the_way_out(tmp_path, change, says):
    path = write_table(tmp_path, "main", "Rows", (2,), [ROW], []) / "main.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(HFDistillError, match=says) as error:
        read_table(path)
    assert "hfdistill ablate" in str(error.value)


def test_a_folder_without_tables_says_how_to_make_one(tmp_path):
    with pytest.raises(HFDistillError, match="has no tables: `hfdistill ablate CONFIG --table main` writes one"):
        read_tables(tmp_path)
