"""The five recipes, joined by the Hub and an endpoint alone."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from hfdistill.kinds import CHAIN

from .test_effects import MAKES


DEAD = "http://127.0.0.1:9"
READ_ALL = """
import sys
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
for repo, names in (("labels", ("responses", "questions", "gold")), ("triples", ("responses", "triples")),
                    ("results", ("results", "responses"))):
    for name in names:
        for split, rows in load_dataset(f"local/tiny-{repo}", name).items():
            assert len(rows) > 0, (repo, name, split)
for repo in ("warmup", "policy"):
    model = AutoModelForCausalLM.from_pretrained(f"local/tiny-{repo}")
    tokenizer = AutoTokenizer.from_pretrained(f"local/tiny-{repo}")
    question = "Q: Tom has 3 pens. Buys 2. Count the pens.\\nLet's break this down step by step!"
    text = tokenizer.decode(model.generate(**tokenizer(question, return_tensors="pt"), max_new_tokens=40)[0])
    assert "Step 1:" in text, text
assert AutoModelForSequenceClassification.from_pretrained("local/tiny-reward").config.num_labels == 1
assert "hfdistill" not in sys.modules
print("read")
"""


def files(folder: Path) -> dict[str, bytes]:
    """What an artifact is made of, without what tells when and where it was made."""
    apart = {"README.md", "hfdistill.json", ".gitattributes"}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in apart]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if ".cache" not in path.parts}


@pytest.mark.timeout(900)
def test_every_artifact_is_read_without_hfdistill(recipes, finished):
    assert recipes.python(READ_ALL).stdout.strip().endswith("read")


def test_the_hf_command_downloads_an_artifact(recipes, finished):
    code = "import subprocess, sys; from pathlib import Path; hf = Path(sys.executable).with_name('hf')\n"
    code += "subprocess.run([hf, 'download', 'local/tiny-policy', '--local-dir', 'policy'], check=True)"
    recipes.python(code)
    manifest = json.loads((recipes.folder / "policy" / "hfdistill.json").read_text())
    assert set(manifest["parents"]) == {"warmup", "reward", "triples", "labels"}
    assert manifest["parents"]["warmup"].startswith("model:local/tiny-warmup@")


@pytest.mark.parametrize("stage", CHAIN)
def test_a_second_call_does_nothing(recipes, finished, stage):
    output = recipes.folder / "pushed"
    assert not list(output.glob("*/*/checkpoint-*"))
    if stage in MAKES:
        # As a kill right after the publishing leaves them.
        code = "import json, sys; from huggingface_hub import hf_hub_download\n"
        code += "print(json.load(open(hf_hub_download(sys.argv[1], 'hfdistill.json')))['fingerprint'])"
        key = recipes.python(code, f"local/tiny-{MAKES[stage][-1]}").stdout.strip()
        (output / stage / key / "checkpoint-7").mkdir(parents=True)
    done = recipes.recipe(stage, finished)
    assert not list(output.glob("*/*/checkpoint-*"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is complete at" in done.stdout
    assert "is published at" not in done.stdout


# Warm-up and reward model in one process: tests/reward/test_recipes.py; PPO without any golds: test_effects.py.
@pytest.mark.slow
def test_noise_instead_of_golds_changes_no_training_artifact(recipes, finished):
    noise = random.Random(1)
    questions = recipes.write_questions("noisy", gold=lambda answer: str(noise.randint(100, 999)))
    config = recipes.write_config("local", questions, push=False)
    for stage in ("label", "warmup", "reward", "ppo"):
        done = recipes.recipe(stage, config)
        assert done.returncode == 0, f"{stage}\n{done.stdout}\n{done.stderr}"
    for kind in ("labels", "warmup", "triples", "reward", "policy"):
        repo_type = "dataset" if kind in ("labels", "triples") else "model"
        code = "from huggingface_hub import snapshot_download; import sys; print(snapshot_download(*sys.argv[1:2], "
        code += f"repo_type={repo_type!r}))"
        pushed = files(Path(recipes.python(code, f"local/tiny-{kind}").stdout.strip()))
        kept = files(recipes.folder / "local" / "artifacts" / f"tiny-{kind}")
        assert pushed.keys() == kept.keys()
        different = {name for name in pushed if pushed[name] != kept[name]}
        # The golds themselves, and the drawings that compare the teacher with them.
        compares = {name for name in pushed if name.startswith(("gold/", "plots/"))} if kind == "labels" else set()
        assert different <= compares, (kind, different)


@pytest.mark.parametrize(
    ("stage", "flags", "message"),
    [
        ("label", ["--task.name", "generik"], "did you mean 'generic'"),
        ("label", ["--treshold", "0.5"], "did you mean '--threshold'"),
        (
            "label",
            ["--run.output_dir", "new", "--threshold", "0.6", "--teacher.endpoints", DEAD, "--teacher.patience", "1"],
            "127.0.0.1:9",
        ),
        ("warmup", ["--student.model", "local/nothing-here"], "local/nothing-here"),
        ("reward", ["--warmup", "local/tiny-warmup@no-such-revision"], "no-such-revision"),
        ("ppo", ["--kl_in", "rewards"], "did you mean 'reward'"),
        ("evaluate", ["--models", "Ours"], "name=namespace/repo"),
    ],
)
def test_a_mistake_is_one_clear_error(recipes, finished, stage, flags, message):
    done = recipes.recipe(stage, finished, *flags)
    assert done.returncode != 0
    error = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert message in error
    assert done.stderr.count("Traceback") == 1  # the launcher's, about the exit status


def test_run_skips_what_is_complete_and_report_reads_it_back(recipes, finished):
    def hfdistill(*words: str) -> str:
        command = [sys.executable, "-m", "hfdistill", *words]
        done = subprocess.run(command, env=recipes.environment, capture_output=True, text=True, cwd=recipes.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shown = hfdistill("run", str(finished), "--cpu")
    assert all(f"  {stage:<18} done in" in shown for stage in CHAIN)
    logs = recipes.folder / "pushed" / "logs"
    assert all("is complete at" in (logs / f"{stage}.log").read_text() for stage in CHAIN)
    report = hfdistill("report", "local/tiny", "--output", "report.md")
    assert "Ours w/o R" in report and "Pos/Neg" in report
    assert (recipes.folder / "report.md").read_text().startswith("# local/tiny")
    assert "questions task generic" in hfdistill("lineage", "local/tiny-policy")
    estimated = hfdistill("estimate", str(finished), "--questions", "0", "--like", "local/tiny", "--json")
    assert all(row["hours"] > 0 for row in json.loads(estimated)["rows"][1:])
