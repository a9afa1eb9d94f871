"""Benchmarks by name: the built-in ones, and those that an installed package adds by entry point; and what a task is
made of.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..errors import HFDistillError
from ..plugins import build, installed
from ..plugins import resolved as resolved_options
from .base import Answer, Question, Task, split_of
from .letters import extract_letter
from .numbers import extract_number, same_number


__all__ = [
    "Answer",
    "Question",
    "Task",
    "distinct_names",
    "extract_letter",
    "extract_number",
    "installed_tasks",
    "load_task",
    "resolved",
    "same_number",
    "split_of",
    "task_section",
]

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
    return installed(GROUP, BUILT_IN)


def load_task(section: dict[str, Any]) -> Task:
    """Builds the task of a config's `task:` section.

    Args:
        section (`dict`): `name` and the task's options, e.g. `{"name": "gsm8k", "shots": 3}`.

    Returns:
        [`Task`]: nothing has been downloaded yet.
    """
    return build("task", section, installed_tasks())


def resolved(entry: str | dict[str, Any]) -> dict[str, Any]:
    """The section of a task with every option, so that a default that is written out changes nothing. An option that
    is recorded only if it was changed is left out at its default.

    Args:
        entry (`str` or `dict`): as [`task_section`] reads it.
    """
    section = task_section(entry)
    task = load_task(section)
    options = resolved_options(section, task)
    unchanged = {
        field.name
        for field in fields(task)
        if (effect := field.metadata.get("effect")) and effect.if_changed and options[field.name] == field.default
    }
    return {name: value for name, value in options.items() if name not in unchanged}


def task_section(entry: str | dict[str, Any]) -> dict[str, Any]:
    """The section of a task as a list of benchmarks or a command line gives it.

    Args:
        entry (`str` or `dict`): a name (`gsm_plus`), or a mapping with options, read or still in YAML
            (`"{name: gsm_plus, shots: 3}"`).
    """
    if isinstance(entry, dict):
        return entry
    if not isinstance(entry, str):
        raise HFDistillError(f"{entry!r} is neither a name nor a mapping such as {{name: gsm_plus, shots: 3}}")
    if not entry.lstrip().startswith("{"):
        return {"name": entry}
    import yaml

    try:
        section = yaml.safe_load(entry)
    except yaml.YAMLError as error:
        raise HFDistillError(f"{entry!r} is no YAML mapping: {' '.join(str(error).split())}") from error
    if not isinstance(section, dict):
        raise HFDistillError(f"{entry!r} is no YAML mapping with a name and options")
    return section


def distinct_names(tasks: Sequence[Task]) -> list[str]:
    """Names of tasks that stand side by side in one table: the second `generic` is `generic-2`."""
    names: list[str] = []
    for place, task in enumerate(tasks):
        earlier = sum(before.name == task.name for before in tasks[:place])
        names.append(f"{task.name}-{earlier + 1}" if earlier else task.name)
    return names
