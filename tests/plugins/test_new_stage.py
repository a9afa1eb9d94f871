"""A new stage is the files that CONTRIBUTING.md lists: its folder, its recipe, rows in the table, a card template."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest


ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "new_stage"
STAGE_ROW = '        Stage("evaluate",'
KIND_ROW = "COMPARE = Kind("
LENGTHS = """LENGTHS = Kind(
    "lengths",
    stage="lengths",
    repo_type="dataset",
    note="how long the teacher's responses are",
    parents=("labels",),
    hub_tasks=("text-generation",),
    configs=("lengths",),
)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """The project with one stage more."""
    place = tmp_path_factory.mktemp("checkout")
    for folder in ("hfdistill", "recipes"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(FILES, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    table = place / "hfdistill" / "kinds.py"
    text = table.read_text(encoding="utf-8")
    stage = '        Stage("lengths", "hfdistill.lengths.config:LengthsConfig", "measure_lengths.py"),\n'
    text = text.replace(STAGE_ROW, stage + STAGE_ROW, 1).replace(KIND_ROW, LENGTHS + KIND_ROW, 1)
    text = text.replace("RESULTS, COMPARE)}", "RESULTS, LENGTHS, COMPARE)}", 1)
    table.write_text(text, encoding="utf-8")
    return place


def hfdistill(checkout: Path, *words: object) -> str:
    env = {**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "hfdistill", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=env, cwd=checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_new_stage_is_configured_run_found_again_and_traced(checkout, tmp_path):
    rows = [{"question_id": "train-0-000000", "response": f"The answer is {n}."} for n in (2, 3, 33, 3)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    artifacts = tmp_path / "run" / "artifacts"
    task = "{name: word_problems, train: 4, validation: 1, test: 1}"
    hfdistill(
        checkout, "label", "--task", task, "--responses", tmp_path / "r.jsonl", "--output", artifacts / "r-labels"
    )
    config = tmp_path / "r.yaml"
    config.write_text(
        f"run: {{name: r, push: false, output_dir: {tmp_path / 'run'}}}\ntask: {task}\n"
        "teacher: {model: someone/teacher, endpoints: [http://127.0.0.1:9]}\nstudent: {model: someone/student}\n"
        "lengths: {shortest: 17}\n",
        encoding="utf-8",
    )
    assert "valid" in hfdistill(checkout, "validate", config)
    for word in ("published", "complete"):
        hfdistill(checkout, "run", config, "--cpu", "--from", "lengths", "--to", "lengths")
        assert f"is {word} at" in (tmp_path / "run" / "logs" / "lengths.log").read_text(encoding="utf-8")
    assert pq.read_table(artifacts / "r-lengths" / "lengths").to_pylist() == [
        {"question_id": "train-0-000000", "length": 17}
    ]
    manifest = json.loads((artifacts / "r-lengths" / "hfdistill.json").read_text(encoding="utf-8"))
    assert manifest["config"]["stage"] == {"shortest": 17}
    assert "How long the answers of" in (artifacts / "r-lengths" / "README.md").read_text(encoding="utf-8")
    assert "labels: dataset" in hfdistill(checkout, "lineage", artifacts / "r-lengths")
