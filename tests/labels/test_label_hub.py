"""Tasks, responses and labelled datasets through a Hub: our own, served on loopback, and unmodified clients."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]

FILL = """
import io, json, sys
from huggingface_hub import HfApi
api = HfApi()
def put(repo, files):
    api.create_repo(repo, repo_type="dataset", exist_ok=True)
    for name, text in files.items():
        commit = api.upload_file(path_or_fileobj=text.encode(), path_in_repo=name, repo_id=repo, repo_type="dataset")
    return commit.oid
def lines(rows):
    return "".join(json.dumps(row) + "\\n" for row in rows)
train = lines({"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in range(4))
test = lines([{"question": "What is 100 + 1?", "answer": "#### 101"}])
card = "---\\nconfigs:\\n- config_name: main\\n  data_files:\\n  - split: train\\n    path: main/train.jsonl\\n"
card += "  - split: test\\n    path: main/test.jsonl\\n---\\n"
first = put("openai/gsm8k", {"README.md": card, "main/train.jsonl": train, "main/test.jsonl": test})
put("openai/gsm8k", {"main/train.jsonl": lines([{"question": "Changed?", "answer": "#### 0"}])})
rows = [{"question": f"What is {n} + 1?", "response": f"The answer is {n + 1}."} for n in range(4) for _ in range(3)]
put("team/responses", {"data/train.jsonl": lines(rows)})
print(first)
"""

READ = """
from datasets import load_dataset
from huggingface_hub import HfApi
made = {name: load_dataset("team/gsm8k-teacher", name, split="train") for name in ("responses", "questions", "gold")}
assert not any(name.startswith("hfdistill") for name in __import__("sys").modules)
print(len(made["responses"]), list(made["questions"]["pseudo_label"]), list(made["gold"]["gold"]))
print([tag.name for tag in HfApi().list_repo_refs("team/gsm8k-teacher", repo_type="dataset").tags])
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Runs Python against a Hub of its own."""
    folder = tmp_path_factory.mktemp("hub")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    env = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "hfdistill", "hub", "serve", "--port", "0", "--quiet", "--data", folder / "data"]
    server = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = server.stdout.readline()
    env["HF_ENDPOINT"] = line.strip().rpartition("=")[2]

    def run(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=250, cwd=ROOT)

    yield run
    server.terminate()
    server.wait(timeout=60)
    server.stdout.close()


def test_from_and_to_the_hub(hub, tmp_path):
    filled = hub("-c", FILL)
    assert filled.returncode == 0, filled.stderr
    revision = filled.stdout.split()[-1]
    label = ["-m", "hfdistill", "label", "--responses", "team/responses", "--rejects", tmp_path / "rejects.jsonl"]
    to_hub = ["--output", "team/gsm8k-teacher", "--push"]
    said = hub(*label, "--task", f"{{name: gsm8k, revision: {revision}}}", *to_hub)
    assert said.returncode == 0, said.stderr
    assert "team/gsm8k-teacher@" in said.stdout and "12 responses to 4 questions" in said.stdout
    read = hub("-c", READ)
    assert read.returncode == 0, read.stderr
    assert read.stdout.splitlines()[0] == "12 ['1', '2', '3', '4'] ['1', '2', '3', '4']"
    assert len(read.stdout.splitlines()[1]) > 4, "the version is tagged"

    # The newest revision has other questions: every row is rejected, and said so.
    said = hub(*label, "--task", "gsm8k", "--output", tmp_path / "out")
    assert said.returncode == 2 and "all 12 were rejected" in said.stderr
    said = hub(*label, "--task", "{name: gsm8k, revision: nowhere}", "--output", tmp_path / "out")
    assert said.returncode == 2 and "openai/gsm8k@nowhere" in said.stderr and "Traceback" not in said.stderr
    missing = [
        "-m",
        "hfdistill",
        "label",
        "--task",
        "generic",
        "--responses",
        "team/none",
        "--output",
        tmp_path / "out",
    ]
    said = hub(*missing)
    assert said.returncode == 2 and "cannot read the dataset team/none" in said.stderr
