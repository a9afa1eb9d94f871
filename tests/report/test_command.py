"""`hfdistill report` on tables of ablations."""

import pytest

from hfdistill.cli import main


def ended(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["report", *words])
    return end.value.code


def test_the_report_is_written_and_its_first_words_are_said(tables, tmp_path, capsys):
    assert ended("--tables", str(tables), "--output", str(tmp_path)) == 0
    said = capsys.readouterr().out
    assert said.startswith("Distilling rewards is better than imitation alone")
    assert str(tmp_path / "report.html") in said
    assert (tmp_path / "report.md").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name a run (namespace/run), or a folder of tables by --tables"),
        (("local/run", "--push"), "--push is for the report on tables of ablations"),
        (("local/run", "--tables", "somewhere"), "--tables somewhere is a report of its own"),
        (("--tables", "nowhere"), "nowhere has no tables"),
    ],
)
def test_what_cannot_be_reported_is_told(words, says, capsys):
    assert ended(*words) == 2
    assert says in capsys.readouterr().err
