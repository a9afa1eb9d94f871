"""Which of the stored questions a visitor looks at: what an address says, and what each filter means."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..evaluation.paper_rows import BASE, OURS, TEACHER, WITHOUT_REWARD
from .results import StoredAnswers, TaskAnswers


LONGEST_VALUE = 200  # characters of a part of an address


def _student_passes(task: TaskAnswers) -> np.ndarray:
    teacher, ours = task.of(TEACHER.name, task.right), task.of(OURS.name, task.right)
    return _none(task) if teacher is None or ours is None else ~teacher & ours


def _lost(task: TaskAnswers) -> np.ndarray:
    ours = task.of(OURS.name, task.right)
    if ours is None:
        return _none(task)
    knew = [task.of(row.name, task.right) for row in (BASE, WITHOUT_REWARD)]
    return ~ours & np.any([right for right in knew if right is not None] or [_none(task)], axis=0)


def _misjudged(task: TaskAnswers) -> np.ndarray:
    scores = np.where(task.answered & ~np.isnan(task.scores), task.scores, -np.inf)
    best_right = np.where(task.right, scores, -np.inf).max(axis=0)
    best_wrong = np.where(~task.right, scores, -np.inf).max(axis=0)
    return np.isfinite(best_right) & (best_wrong > best_right)


def _unanswered(task: TaskAnswers) -> np.ndarray:
    return np.any((task.places >= 0) & ~task.answered, axis=0)


def _none(task: TaskAnswers) -> np.ndarray:
    return np.zeros(len(task.question_ids), dtype=bool)


# By what stands in an address, with the words of the page.
FILTERS: dict[str, tuple[str, Callable[[TaskAnswers], np.ndarray]]] = {
    "all": ("All test questions", lambda task: ~_none(task)),
    "passed": ("Teacher wrong, student right", _student_passes),
    "lost": ("Student lost what it knew", _lost),
    "misjudged": ("Reward model prefers a wrong answer", _misjudged),
    "unanswered": ("Somebody gave no answer", _unanswered),
}
LENGTHS = {"short": "Short answers", "middle": "Middling answers", "long": "Long answers"}


@dataclass(frozen=True)
class Look:
    """What a visitor looks at, as it stands in the address of the page.

    Args:
        task (`str`): of the questions; empty for the first.
        filter (`str`): a key of `FILTERS`.
        category (`str`), length (`str`), search (`str`): what questions must have; empty for any.
        list_page (`int`): of the list, from 0; Gradio takes `page` of an address for itself.
        question (`str`): id of the one that is open; empty for none.
    """

    task: str = ""
    filter: str = "all"
    category: str = ""
    length: str = ""
    search: str = ""
    list_page: int = 0
    question: str = ""

    @classmethod
    def read(cls, given: Any, results: StoredAnswers) -> "Look":
        """The view that an address or a page asks for; what cannot be understood in it is left out."""
        values = given if isinstance(given, Mapping) else {}
        texts = {
            field.name: str(values[field.name])[:LONGEST_VALUE]
            for field in fields(cls)
            if isinstance(values.get(field.name), (str, int))
        }
        number = texts.pop("list_page", "0")
        list_page = min(int(number), 10**9) if number.isascii() and number.isdigit() else 0
        view = cls(**texts, list_page=list_page)
        task = view.task if view.task in results.tasks else next(iter(results.tasks))
        known = view.filter if view.filter in FILTERS else "all"
        length = view.length if view.length in LENGTHS else ""
        return replace(view, task=task, filter=known, length=length)


def chosen(view: Look, results: StoredAnswers) -> np.ndarray:
    """Numbers of the questions that a view holds, in the order in which they were asked."""
    task = results.tasks[view.task]
    kept = FILTERS[view.filter][1](task)
    if view.category:
        kept = kept & np.array([category == view.category for category in task.categories], dtype=bool)
    if view.length:
        kept = kept & (lengths(task) == list(LENGTHS).index(view.length))
    if view.search.strip():
        kept = kept & results.find(view.task, view.search.strip())
    return np.flatnonzero(kept)


def lengths(task: TaskAnswers) -> np.ndarray:
    """Which third of the questions each belongs to, by the tokens of the student's answer: 0, 1 or 2."""
    tokens = task.of(OURS.name, task.tokens)
    tokens = task.tokens[-1] if tokens is None else tokens
    lower, upper = np.quantile(tokens, [1 / 3, 2 / 3])
    return (tokens > lower).astype(int) + ((tokens > lower) & (tokens >= upper))
