"""What README.md and docs/tasks.md say about tasks of one's own holds: YAML, class, entry points, commands."""

import argparse
import ast
import importlib
import re
import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from hfdistill import cli
from hfdistill.tasks import Answer, Question, Task, extract_number, load_task, split_of


ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "hfdistill-syllables"
SECTION = re.search(r"^## Your own task\n(.*?)(?=^## |\Z)", (ROOT / "README.md").read_text(), re.M | re.S)[1]
PAGE = (ROOT / "docs" / "tasks.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION + PAGE, re.M | re.S)


def entry_points(toml: str) -> dict[str, dict[str, str]]:
    return tomllib.loads(toml)["project"]["entry-points"]


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("hfdistill ")]


@pytest.fixture(scope="module")
def package():
    """The example package's modules, without installing it."""
    sys.path.insert(0, str(PACKAGE))
    yield importlib.import_module
    sys.path.remove(str(PACKAGE))
    for name in [name for name in sys.modules if name.startswith("hfdistill_syllables")]:
        del sys.modules[name]


def test_it_is_short():
    assert len(PAGE.splitlines()) < 60


def test_the_generic_task_loads_and_reads_answers(tmp_path):
    (text,) = blocks("yaml")
    section = yaml.safe_load(text)["task"]
    task = load_task(section)
    question = Question("1", "How many?", "train")
    assert task.extract("Step 1: two.\nThe answer is 2.", question) == Answer("2")
    # The kinds of answer that its comment names are those that there are; the file it names can stand in its place.
    (tmp_path / "questions.jsonl").write_text('{"problem": "How many?", "solution": "#### 2"}\n')
    assert "or path: questions.jsonl" in text
    for kind in ("number", "choice", "exact", "open"):
        assert re.search(rf"\b{kind}\b", text)
        load_task({**section, "answer": kind, **({"options_column": "options"} if kind == "choice" else {})})
    own = {key: value for key, value in section.items() if key != "dataset"}
    local = load_task({**own, "path": str(tmp_path / "questions.jsonl")})
    assert [question.question for question in local.questions()] == ["How many?"]
    assert list(local.golds().values()) == ["2"]


def test_the_class_runs_and_is_that_of_the_package(package):
    (text,) = blocks("python")
    whole = package("hfdistill_syllables.task")
    names = {
        **{"dataclass": dataclass, "ClassVar": ClassVar, "Task": Task, "Question": Question, "Answer": Answer},
        **{"split_of": split_of, "extract_number": extract_number, "WORDS": whole.WORDS},
    }
    exec(compile(text, "docs/tasks.md", "exec"), names)
    shown, installed = names["Syllables"](), whole.Syllables()
    assert shown.questions() == installed.questions() and shown.golds() == installed.golds()
    assert {question.split for question in shown.questions()} <= {"train", "validation", "test"}
    for question in shown.questions():
        assert shown.prompt(question, 0) == installed.prompt(question, 0)
        for response in ("There are two.\nThe answer is 2.", "", "No idea."):
            assert shown.extract(response, question) == installed.extract(response, question)
    # Every method is there, and what the section leaves out of the class is all that it leaves out.
    methods = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    source = (PACKAGE / "hfdistill_syllables" / "task.py").read_text()
    whole_methods = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    assert methods == whole_methods - {"same"}


def test_the_entry_points_are_those_of_the_package(package):
    (text,) = blocks("toml")
    shown = entry_points(text)
    assert set(shown) == {"hfdistill.tasks", "hfdistill.labelers", "hfdistill.rewards"}
    assert shown == entry_points((PACKAGE / "pyproject.toml").read_text())
    for group in shown.values():
        for name, target in group.items():
            module, _, kind = target.partition(":")
            assert getattr(package(module), kind).name == name


def test_commands_are_shown():
    assert {shlex.split(line)[1] for line in COMMANDS} == {"tasks", "label", "relabel", "extract"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_parses(line, monkeypatch):
    parse, parsed = argparse.ArgumentParser.parse_args, []

    def parse_only(parser, argv):
        parsed.append(parse(parser, argv))
        return argparse.Namespace(func=lambda args: 0)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    with pytest.raises(SystemExit) as ended:
        cli.main(shlex.split(line, comments=True)[1:])
    assert ended.value.code == 0
    (args,) = parsed
    assert args.func.__module__ == f"hfdistill.commands.{shlex.split(line)[1]}"


def test_columns_that_are_named_are_known():
    from hfdistill.labels.columns import column_mapping

    named = [words[words.index("--columns") + 1] for words in map(shlex.split, COMMANDS) if "--columns" in words]
    assert named and all(column_mapping([name]) for name in named)


def test_folders_that_are_named_exist():
    for folder in re.findall(r"`(tests/[^`]+)`", PAGE):
        assert (ROOT / folder).is_dir()
