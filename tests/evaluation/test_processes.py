"""The recipe launched on two machines makes the table of one process, and the teacher is asked once."""

import json

import pytest
import yaml
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hfdistill.rows import read_rows

from ..launch import ROOT, launch
from ..reward.test_recipes import TASK, make_base


@pytest.mark.slow
def test_two_launchers_ask_the_teacher_once(tmp_path, stand_in):
    endpoint = stand_in()
    base, reward = tmp_path / "base", tmp_path / "reward"
    make_base(base)
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=1).save_pretrained(reward)
    AutoTokenizer.from_pretrained(base).save_pretrained(reward)
    config = tmp_path / "config.yaml"
    sections = {
        "run": {"name": "run", "push": False, "output_dir": str(tmp_path)},
        "task": {**TASK, "test": 30},
        "teacher": {"model": "stand-in/teacher", "endpoints": [endpoint.url]},
        "student": {"model": str(base)},
        "evaluate": {"models": [f"Ours={base}"], "votes": [2], "baseline": "Teacher", "reward": str(reward)},
    }
    config.write_text(yaml.safe_dump(sections))
    made, metrics, asked = [], [], []
    for configuration in (None, "ddp_nodes"):
        where = ["--run.suffix", f"-{configuration}", "--output_dir", str(tmp_path / f"finished-{configuration}")]
        launch(configuration, ROOT / "recipes" / "evaluate.py", "--config", str(config), *where)
        results = tmp_path / "artifacts" / f"run-results-{configuration}"
        responses = [
            row | {"response": None} if row["row"] == "Teacher" else row for row in read_rows(results, "responses")
        ]
        # The stand-in's texts differ each time; a score is rounded otherwise in a batch of another size.
        made.append([{**row, "score": None} for row in [*responses, *read_rows(results, "samples")]])
        assert all(row["score"] is not None for row in read_rows(results, "samples"))
        metrics.append(json.loads((results / "hfdistill.json").read_text())["metrics"])
        asked.append(endpoint.control()["answered"] - sum(asked))
    assert made[0] == made[1] and len(made[0]) == 30 + 30 + 60
    assert metrics[0] == metrics[1]
    assert asked[0] == asked[1]
