"""Explore: the stored answers as a list, one question with all its answers, and pictures of them all."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..evaluation.paper_rows import MAIN_ROWS, row_in_words
from ..intervals import interval
from ..labels.questions import question_of
from . import render
from .compare import Column, Comparison, stored_answer
from .filters import FILTERS, LENGTHS, Look, chosen, lengths
from .results import TaskAnswers
from .run import ShownRun


ROWS_A_PAGE = 25
BINS = 16


def explore(run: ShownRun, asked: Any) -> str:
    """The whole view, for an address of the page."""
    if run.results is None:
        return render.template("explore_empty.html").render()
    view = Look.read(asked, run.results)
    task = run.results.tasks[view.task]
    return render.template("explore.html").render(
        view=view,
        tasks=list(run.results.tasks),
        filters={name: words for name, (words, _) in FILTERS.items()},
        lengths=LENGTHS,
        categories=sorted({category for category in task.categories if category is not None}),
        table=table(run, asked),
        question=question(run, asked) if view.question else "",
    )


def table(run: ShownRun, asked: Any) -> str:
    """A page of the list of questions."""
    view = Look.read(asked, run.results)
    task, numbers = run.results.tasks[view.task], chosen(view, run.results)
    last = max(0, (len(numbers) - 1) // ROWS_A_PAGE)
    view = replace(view, list_page=min(view.list_page, last))
    start = view.list_page * ROWS_A_PAGE
    main = [task.rows.index(row.name) for row in MAIN_ROWS if row.name in task.rows]
    listed = main or range(len(task.rows))  # an opened question has all of them
    shown = [
        {
            "id": task.question_ids[number],
            "number": number + 1,
            "text": run.results.question(view.task, number)["question"],
            "category": task.categories[number],
            "marks": [_mark(task, row, number) for row in listed],
        }
        for number in numbers[start : start + ROWS_A_PAGE]
    ]
    return render.template("explore_table.html").render(
        view=view,
        names=[row_in_words(task.rows[row]) for row in listed],
        shown=shown,
        first=start + 1,
        count=len(numbers),
        total=len(task.question_ids),
        last=last,
        by_category=any(category is not None for category in task.categories),
    )


def question(run: ShownRun, asked: Any) -> str:
    """One question with everybody's answer, and the way to its neighbours in the list."""
    view = Look.read(asked, run.results)
    task, numbers = run.results.tasks[view.task], chosen(view, run.results)
    if view.question not in task.question_ids:
        return render.template("explore_question.html").render(shown=None)
    number = task.question_ids.index(view.question)
    place = int(np.searchsorted(numbers, number))
    within = place < len(numbers) and numbers[place] == number
    after = place + 1 if within else place
    return render.template("explore_question.html").render(
        shown=render.comparison(run, stored_comparison(run, view.task, number)),
        number=number + 1,
        before=task.question_ids[numbers[place - 1]] if place else None,
        after=task.question_ids[numbers[after]] if after < len(numbers) else None,
    )


def stored_comparison(run: ShownRun, task: str, number: int) -> Comparison:
    """The stored answers to a question, as if everybody had just answered it."""
    rows = run.results.answers(task, number)
    one = rows[0]
    own = task == run.task_name
    vote = run.votes.get(one["question_id"]) if own else None
    asked = question_of({**one, "split": "test"})
    columns = []
    for row in rows:
        about = row_in_words(row["row"])
        answer = stored_answer(run, asked, row, vote)
        columns.append(Column(about.role, about.title, about.words, "", "done", "", [answer]))
    scored = any(column.samples[0].score is not None for column in columns)
    return Comparison(
        question=asked,
        vote=vote,
        gold=one["gold"],
        columns=columns,
        scoring="done" if scored else "absent",
        scoring_note="The reward model was not asked about these answers when they were stored.",
        variant=run.reward_variant,
    )


def pictures(run: ShownRun, asked: Any) -> str:
    """What all answers of a task have in common."""
    view = Look.read(asked, run.results)
    task = run.results.tasks[view.task]
    scored = task.answered & ~np.isnan(task.scores)
    return render.template("explore_pictures.html").render(
        histogram=_histogram(task.scores[scored & task.right], task.scores[scored & ~task.right]),
        by_score=_by_score(task.scores[scored], task.right[scored]),
        by_category=_by(task, sorted({each for each in task.categories if each is not None}), task.categories),
        by_length=_by(task, list(LENGTHS.values()), [list(LENGTHS.values())[third] for third in lengths(task)]),
        names=[row_in_words(name) for name in task.rows],
    )


def _mark(task: TaskAnswers, row: int, number: int) -> str:
    if task.places[row, number] < 0:
        return "absent"
    if task.right[row, number]:
        return "right"
    return "wrong" if task.answered[row, number] else "none"


def _histogram(right: np.ndarray, wrong: np.ndarray) -> dict[str, Any] | None:
    """Bars of both kinds of answers over one axis, each kind as shares of itself."""
    values = np.concatenate([right, wrong])
    if not len(values):
        return None
    edges = np.histogram_bin_edges(values, bins=BINS)
    shares = [np.histogram(kind, bins=edges)[0] / max(1, len(kind)) for kind in (right, wrong)]
    highest = max(float(np.max(shares)), 1e-9)
    bins = [{"right": 100 * a / highest, "wrong": 100 * b / highest} for a, b in zip(*shares, strict=True)]
    return {"bins": bins, "low": edges[0], "high": edges[-1], "right": len(right), "wrong": len(wrong)}


def _by_score(scores: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """Share of right answers among those with the lowest scores, and so on up to the highest, in fifths."""
    if len(scores) < 5:
        return []
    fifths = np.array_split(np.argsort(scores, kind="stable"), 5)
    return [
        {"least": scores[part[0]], "most": scores[part[-1]], **interval(int(right[part].sum()), len(part))}
        for part in fifths
    ]


def _by(task: TaskAnswers, names: list[str], of_question: list[Any]) -> list[dict[str, Any]]:
    """Accuracies of every row on the questions of each group."""
    groups = []
    labels = np.array(of_question, dtype=object)
    for name in names:
        inside = labels == name
        if inside.any():
            counts = [(int(task.right[row][inside].sum()), int(inside.sum())) for row in range(len(task.rows))]
            groups.append({"name": name, "n": int(inside.sum()), "rows": [interval(*count) for count in counts]})
    return groups
