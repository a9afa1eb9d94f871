"""The rows of the results table: one model's greedy answers to one task's test questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..intervals import interval
from ..tasks.base import Question, Task


@dataclass(frozen=True)
class Answered:
    """A response to a test question: its `text`, the `answer` in it or `None`, why it ended, how many `tokens`, and
    the ids that a local model sampled, its end token included.
    """

    text: str
    answer: str | None
    finish_reason: str
    tokens: int
    token_ids: list[int] | None = None


def grade(
    task: Task, row: str, questions: Sequence[Question], golds: dict[str, str], responses: Sequence[Answered]
) -> list[dict[str, Any]]:
    """Compare the answers to questions with their canonical golds, by question id: rows of the config `responses` of
    the results. `row` says who answered, the name of its row in the table. In an open-ended task a judge is to tell
    what is `correct`, see [`~hfdistill.evaluation.judging.Judging`].
    """
    return [
        {
            "task": task.name,
            "row": row,
            "question_id": question.question_id,
            "question": question.question,
            "response": response.text,
            "answer": response.answer,
            "gold": None if task.open_ended else golds[question.question_id],
            "correct": None if task.open_ended else task.correct(response.answer, golds[question.question_id]),
            "category": question.category,
            "options": question.options and list(question.options),
            "tokens": response.tokens,
            "finish_reason": response.finish_reason,
            "token_ids": response.token_ids,
        }
        for question, response in zip(questions, responses, strict=True)
    ]


def read_leniently(
    task: Task, row: str, questions: Sequence[Question], graded: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The same responses as another row, in which the last value of the answer's kind counts where no answer is
    announced: what a model knows, apart from whether it knows the format.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the task has no such reading.
    """
    read = []
    for question, answered in zip(questions, graded, strict=True):
        answer = answered["answer"]
        if answer is None:
            answer = task.last_value(answered["response"], question).value
        read.append({**answered, "row": row, "answer": answer, "correct": task.correct(answer, answered["gold"])})
    return read


def summary(graded: Sequence[Mapping[str, Any]], unanswerable: str | None = None) -> dict[str, Any]:
    """Accuracy with its 95 % Wilson interval, by category too, share without an answer, and mean length. Where a judge
    told what is correct, it is the share of all answers that it calls good.

    Args:
        graded (`Sequence[Mapping]`): one model's answers to one task, from [`grade`].
        unanswerable (`str`, *optional*): the gold of questions without an answer, see [`~hfdistill.tasks.Task`]. A
            model that never answers is right about all of them.

    Returns:
        `dict`: `value`, `low`, `high`, `n`, `no_answer`, `mean_tokens`, `categories`; where there are questions
        without an answer, `answerable`, the accuracy on the others.
    """
    n, judged = len(graded), any(row["gold"] is None for row in graded)
    categories: dict[str, list[bool]] = {}
    for row in graded:
        if row["category"] is not None:
            categories.setdefault(row["category"], []).append(bool(row["correct"]))
    answerable = [bool(row["correct"]) for row in graded if judged or row["gold"] != unanswerable]
    return {
        **interval(sum(bool(row["correct"]) for row in graded), n),
        **({"answerable": interval(sum(answerable), len(answerable))} if 0 < len(answerable) < n else {}),
        "no_answer": sum(row["answer"] is None for row in graded) / n,
        "mean_tokens": sum(row["tokens"] for row in graded) / n,
        **({"undecided": sum(row["correct"] is None for row in graded) / n} if judged else {}),
        "categories": {name: sum(right) / len(right) for name, right in sorted(categories.items())},
    }
