"""Test figures on the cards of models: what changes, what stays, and what is left alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hfdistill.artifacts import cards
from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.references import Artifact, open_artifact
from hfdistill.artifacts.store import Store
from hfdistill.config import Config, RunConfig, StudentConfig
from hfdistill.evaluation.paper_rows import PAPER_ROWS
from hfdistill.evaluation.telling import BEGIN, tell_models
from hfdistill.intervals import interval
from hfdistill.kinds import POLICY, RESULTS, WARMUP


TASK = {"name": "word_problems", "train": 6, "validation": 2, "test": 2}


@pytest.fixture
def run(tmp_path):
    """The results of a run of two models in folders, and its store."""
    config = Config(
        RunConfig("demo", output_dir=str(tmp_path), push=False), TASK, None, StudentConfig("demo/base"), None, {}
    )
    store, models = Store(config.run), {}
    for name, kind in (("Ours w/o R", WARMUP), ("Ours", POLICY)):
        files = tmp_path / "files" / kind.name
        files.mkdir(parents=True)
        (files / "model.safetensors").write_bytes(kind.name.encode())
        made = manifest(kind, config, {}, {"validation_accuracy": interval(90, 100)})
        models[name] = store.publish(files, kind, made)
    return store, config, models


def evaluate(run, right: dict[str, int], **asked) -> Artifact:
    store, config, models = run
    config = replace(config, asked=asked)
    files = Path(config.run.output_dir) / "files" / "results"
    files.mkdir(parents=True, exist_ok=True)
    table = {name: interval(count, 1000) for name, count in right.items()}
    made = manifest(RESULTS, config, {name: models[name] for name in models}, {"word_problems": table})
    return store.publish(files, RESULTS, made)


def read(model: Artifact) -> tuple[dict, str]:
    return cards.split((model.path / "README.md").read_text())


def test_models_get_their_figures_beside_those_of_the_others(run):
    _, _, models = run
    before = {name: open_artifact(model.repo_id, "model").digest for name, model in models.items()}
    results = evaluate(run, {"Teacher": 880, "Ours": 987, "Ours w/o R": 577})
    assert tell_models(results) == [models["Ours"].repo_id, models["Ours w/o R"].repo_id]
    for name, value in (("Ours", 0.987), ("Ours w/o R", 0.577)):
        data, body = read(models[name])
        validated, tested = data["model-index"][0]["results"]
        assert validated["metrics"][0]["type"] == "agreement"
        assert tested["metrics"] == [{"type": "accuracy", "value": value, "name": "accuracy on test questions"}]
        assert tested["dataset"]["split"] == "test" and tested["dataset"]["config"] == "responses"
        assert "| `word_problems` | Teacher: the large model | 88.0 %" in body
        assert f"| **{name}, this model: {PAPER_ROWS[name].words}** | **{100 * value:.1f} %" in body
        assert body.index("## Test figures") < body.index("## How to load it")
        # The card alone changed: nothing that is made from the model is made anew.
        assert open_artifact(models[name].repo_id, "model").digest == before[name]


def test_figures_are_replaced_only_by_a_new_evaluation_and_edits_by_hand_stay(run):
    _, _, models = run
    first = evaluate(run, {"Ours": 900, "Ours w/o R": 500})
    tell_models(first)
    card = models["Ours"].path / "README.md"
    card.write_text(card.read_text().replace("# demo-policy", "# My own title"))
    assert tell_models(first) == [] and tell_models(first, anew=False) == []
    second = evaluate(run, {"Ours": 950, "Ours w/o R": 500}, again=True)
    assert tell_models(second, anew=False) == []
    assert len(tell_models(second)) == 2  # each card has the whole table
    data, body = read(models["Ours"])
    assert [each["metrics"][0]["value"] for each in data["model-index"][0]["results"]] == [0.9, 0.95]
    assert body.count(BEGIN) == 1 and "# My own title" in body and "90.0 %" not in body.partition("## How to load")[0]


def test_other_data_other_runs_and_strangers_are_left_alone(run):
    _, _, models = run
    results = evaluate(run, {"Ours": 900, "Ours w/o R": 500})
    (models["Ours"].path / "model.safetensors").write_bytes(b"other weights")
    other = json.loads((models["Ours w/o R"].path / "hfdistill.json").read_text()) | {"run": "another"}
    (models["Ours w/o R"].path / "hfdistill.json").write_text(json.dumps(other))
    assert tell_models(results) == []
    assert all(BEGIN not in read(model)[1] for model in models.values())


def test_the_identity_of_what_comes_after_does_not_depend_on_the_card(run):
    _, config, models = run
    before = fingerprint(RESULTS, config, models)
    tell_models(evaluate(run, {"Ours": 900, "Ours w/o R": 500}))
    assert (
        fingerprint(RESULTS, config, {name: open_artifact(models[name].repo_id, "model") for name in models}) == before
    )
