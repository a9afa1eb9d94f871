"""A package of its own, installed by pip, adds a task, a labeler and a reward that every command and recipe knows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest


ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "hfdistill-syllables"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The package, installed without a network into a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    # Building writes into the source tree.
    source = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / PACKAGE.name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    subprocess.run(command, check=True, timeout=200, capture_output=True, text=True)
    return target


def run(site: Path, *arguments: object) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=env, cwd=ROOT)


def test_all_are_listed(site):
    said = run(site, "-m", "hfdistill", "tasks", "--json")
    found = json.loads(said.stdout)
    assert found["tasks"]["syllables"] == "hfdistill_syllables.task:Syllables"
    assert found["labelers"]["greedy"] == "hfdistill_syllables.labeler:Greedy"
    assert found["rewards"]["polite"] == "hfdistill_syllables.reward:Polite"
    missing = subprocess.run(
        [sys.executable, "-m", "hfdistill", "tasks", "syllables"],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )
    assert missing.returncode == 2 and "unknown task 'syllables'" in missing.stderr


@pytest.mark.parametrize(("labeler", "pseudo_label"), [("vote", "3"), ("greedy", "2")])
def test_label(site, tmp_path, labeler, pseudo_label):
    rows = [{"question_id": "banana", "response": f"a, a, a.\nThe answer is {n}."} for n in (2, 3, 3, 3)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = run(
        *(site, "-m", "hfdistill", "label", "--task", "syllables", "--responses", tmp_path / "r.jsonl"),
        *("--output", tmp_path / "out", "--labeler", labeler),
    )
    assert said.returncode == 0, said.stderr
    questions = pq.read_table(tmp_path / "out" / "questions").to_pylist()
    assert [(row["question_id"], row["pseudo_label"]) for row in questions] == [("banana", pseudo_label)]
    assert pq.read_table(tmp_path / "out" / "gold").to_pylist() == [{"question_id": "banana", "gold": "3"}]


def test_its_reward_has_options_and_a_weight(site):
    code = (
        "from hfdistill.ppo.stage import DistillPPOConfig\nfrom hfdistill.reward.rewards import load_rewards\n"
        "from hfdistill.tasks import load_task\nentries = ['{name: polite, word: Well, weight: 0.5}']\n"
        "config = DistillPPOConfig('out', rewards=entries, use_cpu=True)\n"
        "(reward,) = load_rewards(config.rewards, load_task({'name': 'syllables'}), None)\n"
        "print(config.reward_weights, reward.__name__, reward(completions=['Well, 3', 'Sure, 3']))\n"
    )
    said = run(site, "-c", code)
    assert said.stdout.strip() == "[0.5] polite [1.0, 0.0]", said.stderr
    wrong = run(site, "-c", code.replace("word:", "words:"))
    assert "unknown option of reward polite: 'words', did you mean 'word'?" in wrong.stderr


@pytest.mark.slow
def test_evaluate(site, tmp_path):
    model = tmp_path / "model"
    tiny = (
        "import sys, torch\nfrom transformers import LlamaConfig, LlamaForCausalLM\n"
        "from hfdistill.demo.models import tokenizer\ntorch.manual_seed(0)\nt = tokenizer()\n"
        "c = LlamaConfig(vocab_size=len(t), hidden_size=16, intermediate_size=32, num_hidden_layers=1,"
        " num_attention_heads=2, num_key_value_heads=2, pad_token_id=t.pad_token_id, eos_token_id=t.eos_token_id,"
        " bos_token_id=t.bos_token_id)\n"
        "LlamaForCausalLM(c).save_pretrained(sys.argv[1])\nt.save_pretrained(sys.argv[1])\n"
    )
    assert run(site, "-c", tiny, model).returncode == 0
    rows = [
        {"question": "How many?", "answer": "None", "perturbation_type": "critical thinking"},
        {"question": "How many are 2?", "answer": "2", "perturbation_type": "adding operation"},
    ]
    (tmp_path / "plus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plus = {"name": "gsm_plus", "path": str(tmp_path / "plus.jsonl"), "max_new_tokens": 8}
    benchmarks = [plus, "{name: syllables, shots: 0}"]
    config = {
        "run": {"name": "plugged", "push": False, "output_dir": str(tmp_path / "run")},
        "task": {"name": "syllables"},
        "student": {"model": str(model)},
        "evaluate": {"models": [f"Ours={model}"], "teacher": False, "benchmarks": benchmarks},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(config))
    said = run(site, "recipes/evaluate.py", "--config", tmp_path / "run.yaml")
    assert said.returncode == 0, said.stderr
    results = tmp_path / "run" / "artifacts" / "plugged-results"
    responses = pq.read_table(results / "responses").to_pylist()
    metrics = json.loads((results / "hfdistill.json").read_text())["metrics"]
    assert set(metrics) == {row["task"] for row in responses} == {"syllables", "gsm_plus", "syllables-2"}
    assert len(responses) == sum(task["Ours"]["n"] for task in metrics.values())
    # The untrained model answers nothing, which is right where there is no answer.
    found = {row["task"]: row for row in pq.read_table(results / "results").to_pylist()}
    plus_row = found["gsm_plus"]
    assert (plus_row["value"], plus_row["answerable"], plus_row["answerable_n"]) == (0.5, 0, 1)
    assert found["syllables"]["answerable"] is None
    assert "  answerable " in said.stdout and "`answerable`" in (results / "README.md").read_text()
