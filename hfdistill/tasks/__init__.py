"""Benchmarks by name: the built-in ones, and those that an installed package adds by entry point."""

from __future__ import annotations

from typing import Any

from hfdistill.plugins import build, installed
from hfdistill.tasks.base import Answer, Question, Task


__all__ = ["Answer", "Question", "Task", "installed_tasks", "load_task"]

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
    """
    Builds the task of a config's `task:` section.

    Args:
        section (`dict`): `name` and the task's options, e.g. `{"name": "gsm8k", "shots": 3}`.

    Returns:
        [`Task`]: nothing has been downloaded yet.
    """
    return build("task", section, installed_tasks())
