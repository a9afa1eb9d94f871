"""Votes and lenient rows through the recipe, on a tiny run."""

import json

import pytest

from hfdistill.rows import read_rows

from ..baselines.test_recipe import Run


@pytest.mark.slow
def test_votes_are_sampled_once_scored_and_found_again(tmp_path, monkeypatch):
    run = Run(tmp_path)
    models = [f"ICL={tmp_path / 'base'}", f"Ours w/o R={tmp_path / 'artifacts/run-warmup'}"]
    flags = ["--models", *models, "--votes", "2", "3", "--lenient", "ICL"]
    run.launch("evaluate", *flags)
    made = tmp_path / "artifacts" / "run-results"
    told = json.loads((made / "hfdistill.json").read_text())
    assert told["parents"].keys() == {"ICL", "Ours w/o R", "reward"}
    (table,) = told["metrics"].values()
    assert list(table["Ours w/o R"]["votes"]) == ["2", "3"] and "votes" not in table["ICL"]
    assert table["ICL (lenient)"]["no_answer"] <= table["ICL"]["no_answer"]
    samples = read_rows(made, "samples")
    assert [(row["question_id"], row["sample"]) for row in samples] == [
        (question, sample) for question in dict.fromkeys(row["question_id"] for row in samples) for sample in range(3)
    ]
    assert all(row["score"] is not None for row in [*samples, *read_rows(made, "responses")])

    from hfdistill.evaluation import sampling

    def no_more(*args, **kwargs):
        raise AssertionError("sampled twice")

    monkeypatch.setattr(sampling, "sampled_answers", no_more)
    run.launch("evaluate", *flags, "--baseline", "ICL")
    assert read_rows(made, "samples") == samples
    # Without votes nothing is scored, and the table is what it was before there were any.
    run.launch("evaluate", "--models", *models)
    assert not (made / "samples").exists()
    assert {row["score"] for row in read_rows(made, "responses")} == {None}
