"""`hfdistill tasks`: which tasks, labelers and rewards are installed, and what options each has."""

import argparse
import dataclasses
import json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb to the command line."""
    parser = subparsers.add_parser(
        "tasks", help="list tasks, labelers and rewards, or show a task's options and prompt"
    )
    parser.add_argument("task", nargs="?", help="a name, `{name: …, options}` in YAML, or a run's YAML file")
    parser.add_argument("--json", action="store_true", help="for other programs")
    parser.set_defaults(func=_tasks)


def section_of(text: str) -> dict:
    """A task or labeler as given on a command line: its name, an inline YAML mapping, or a run's YAML file."""
    from ..config import read_sections
    from ..errors import HFDistillError
    from ..tasks import task_section

    if not text.endswith((".yaml", ".yml")):
        return task_section(text)
    section = read_sections(text).get("task")
    if not section:
        raise HFDistillError(f"{text} has no section task: add `task: {{name: gsm8k}}`")
    return section


def _tasks(args: argparse.Namespace) -> None:
    if args.task is not None:
        _show(args)
        return
    from ..labels.labelers import installed_labelers
    from ..reward.rewards import installed_rewards
    from ..tasks import installed_tasks

    found = {"tasks": installed_tasks(), "labelers": installed_labelers(), "rewards": installed_rewards()}
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for kind, names in found.items():
        print(f"{kind}:")
        for name, source in names.items():
            print(f"  {name:15} {source}")


def _show(args: argparse.Namespace) -> None:
    from ..plugins import plugin_class
    from ..tasks import Question, installed_tasks, load_task

    section = section_of(args.task)
    kind = plugin_class("task", str(section.get("name")), installed_tasks())
    options = {
        field.name: field.default if field.default is not dataclasses.MISSING else None
        for field in dataclasses.fields(kind)
        if field.init
    }
    options |= {name: value for name, value in section.items() if name != "name"}
    if args.json:
        print(json.dumps({"name": section["name"], "options": options}, indent=2, default=str))
        return
    print(f"{section['name']}: {kind.__module__}:{kind.__qualname__}")
    for name, value in options.items():
        print(f"  {name:17} {value!r}")
    question = Question("example", "How many legs do three dogs have?", "train", ("3", "12"))
    print(f"\nThe student's prompt:\n\n{load_task(section).prompt(question, shots=0)}")
