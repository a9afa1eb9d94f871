"""Tasks by name and option, and rows from files; what is wrong is said with a way out."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hfdistill.errors import HFDistillError
from hfdistill.tasks import installed_tasks, load_task
from hfdistill.tasks.loading import load_rows


def test_built_in_tasks_are_installed():
    assert {"generic", "gsm8k", "gsm_plus", "mmlu_pro", "word_problems"} <= set(installed_tasks())


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "gsm8"}, "unknown task 'gsm8', did you mean 'gsm8k'"),
        ({}, "needs a name"),
        ({"name": 3}, "needs a name"),
        ({"name": "gsm8k", "shot": 3}, "unknown option of task gsm8k: 'shot', did you mean 'shots'"),
        ({"name": "gsm8k", "validation_share": 1}, "share from 0 to below 1, not 1"),
        ({"name": "mmlu_pro", "test_share": "half"}, "test_share must be a share from 0 to below 1, not 'half'"),
        ({"name": "gsm8k", "shots": -1}, "shots must be a whole number from 0 up, not -1"),
        ({"name": "gsm8k", "max_new_tokens": "many"}, "max_new_tokens must be a whole number from 1 up"),
    ],
)
def test_mistakes_in_the_section(section, message):
    with pytest.raises(HFDistillError, match=message):
        load_task(section)


def test_a_single_stop_string_is_a_list_of_one():
    assert load_task({"name": "gsm8k", "stop": "\n\n"}).stop == ("\n\n",)


def test_rows_come_from_files_named_after_the_split(tmp_path):
    rows = [{"question": "a", "answer": "#### 1"}, {"question": "b", "answer": "#### 2"}]
    pq.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "train-00000-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows[1:]), tmp_path / "train-00001-of-00002.parquet")
    (tmp_path / "gsm8k_test.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    (tmp_path / "other_train.jsonl").write_text("not read")
    task = load_task({"name": "gsm8k", "path": str(tmp_path)})
    assert [question.question for question in task.questions()] == ["a", "b", "a", "b"]
    assert set(task.golds().values()) == {"1", "2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{broken", "row 1: not json"),
        ("[1]", "row 1: not an object"),
        ('{"question": "q"}', "no column 'answer'; it has question"),
    ],
)
def test_broken_files(tmp_path, content, message):
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(content + "\n")
    with pytest.raises(HFDistillError, match=message):
        load_task({"name": "gsm8k", "path": str(tmp_path)}).questions()


def test_a_gold_that_is_no_number(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"question": "q", "answer": "#### many"}\n')
    task = load_task({"name": "gsm8k", "path": str(tmp_path)})
    assert len(task.questions()) == 2
    with pytest.raises(HFDistillError, match="gsm8k-train-0: the gold answer .* is no number"):
        task.golds()


def test_missing_places(tmp_path):
    with pytest.raises(HFDistillError, match="neither a file nor a folder"):
        load_task({"name": "gsm8k", "path": str(tmp_path / "none")}).questions()
    with pytest.raises(HFDistillError, match="no file of the split 'train'"):
        load_task({"name": "gsm8k", "path": str(tmp_path)}).questions()


def test_a_hub_that_cannot_be_reached(monkeypatch, tmp_path):
    script = (
        "from hfdistill.tasks import load_task\nfrom hfdistill.errors import HFDistillError\n"
        "try:\n    load_task({'name': 'gsm8k'}).questions()\nexcept HFDistillError as error:\n    print(error)\n"
    )
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)
    assert "cannot read the dataset openai/gsm8k" in said.stdout, said.stderr
    assert "HF_ENDPOINT" in said.stdout


@pytest.mark.parametrize("folder", ["tasks", "labels", "teacher"])
def test_tasks_labels_and_teacher_import_nothing_heavy(folder):
    script = (
        f"import importlib, pkgutil, sys, hfdistill.{folder} as folder\n"
        "for module in pkgutil.iter_modules(folder.__path__, folder.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "from hfdistill.tasks import load_task\nload_task({'name': 'gsm8k'})\n"
        "heavy = {'torch', 'transformers', 'datasets', 'trl', 'gradio', 'pyarrow', 'pandas', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert said.stdout.strip() == "[]", said.stderr


@pytest.mark.parametrize("section", [{"name": "gsm8k"}, {"name": "generic", "test_split": "test"}])
def test_one_file_is_not_taken_for_two_splits(tmp_path, section):
    (tmp_path / "mine.jsonl").write_text('{"question": "q", "answer": "#### 1"}\n')
    with pytest.raises(HFDistillError, match="one file: give the folder"):
        load_task({**section, "path": str(tmp_path / "mine.jsonl")}).questions()


def test_a_file_is_every_split(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "q"}\n')
    assert load_rows("t", "", "anything", path=str(tmp_path / "mine.jsonl")) == [{"question": "q"}]
