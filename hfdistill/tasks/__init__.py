"""Benchmarks by name: the built-in ones, and those that an installed package adds by entry point."""

from __future__ import annotations

from dataclasses import MISSING, fields
from importlib import import_module
from importlib.metadata import entry_points

from hfdistill.errors import HFDistillError, unknown
from hfdistill.tasks.base import Answer, Question, Task


__all__ = ["Answer", "Question", "Task", "installed_tasks", "load_task", "task_class"]

GROUP = "hfdistill.tasks"

# A table beside the entry points, so that a checkout that was never installed has its tasks too.
BUILT_IN = {
    "generic": "hfdistill.tasks.generic:Generic",
    "gsm8k": "hfdistill.tasks.gsm8k:Gsm8k",
    "gsm_plus": "hfdistill.tasks.gsm_plus:GsmPlus",
    "mmlu_pro": "hfdistill.tasks.mmlu_pro:MmluPro",
    "word_problems": "hfdistill.tasks.word_problems:WordProblems",
}


def installed_tasks() -> dict[str, str]:
    """Names of all tasks with where each comes from, `module:Class`; nothing is imported."""
    found = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    return dict(sorted({**found, **BUILT_IN}.items()))


def task_class(name: str) -> type[Task]:
    """The class of a task; an unknown name is an error that suggests the nearest one."""
    known = installed_tasks()
    if name not in known:
        raise unknown("task", name, known)
    module, _, attribute = known[name].partition(":")
    try:
        return vars(import_module(module))[attribute]
    except (ImportError, KeyError) as error:
        raise HFDistillError(
            f"task '{name}' is announced as {known[name]} but cannot be loaded ({error!r}); "
            "reinstall or remove the package that adds it"
        ) from error


def load_task(section: dict) -> Task:
    """
    Builds the task of a config's `task:` section.

    Args:
        section (`dict`): `name` and the task's options, e.g. `{"name": "gsm8k", "shots": 3}`.

    Returns:
        [`Task`]: nothing has been downloaded yet.
    """
    options = dict(section)
    name = options.pop("name", None)
    if not isinstance(name, str) or not name:
        raise HFDistillError(f"the task section needs a name; installed: {', '.join(installed_tasks())}")
    kind = task_class(name)
    known = {field.name: field for field in fields(kind) if field.init}
    for option in options:
        if option not in known:
            raise unknown(f"option of task {name}", option, known)
    for option, field in known.items():
        if option not in options and field.default is MISSING and field.default_factory is MISSING:
            raise HFDistillError(f"task {name} needs the option '{option}'")
    return kind(**options)
