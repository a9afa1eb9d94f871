"""The named calls of the page, for gradio_client and MCP: `/compare`, `/score`, `/best_of_n` and `/results`."""

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any

from ..errors import HFDistillError
from ..evaluation.paper_rows import OURS, PAPER_ROWS
from ..kinds import REWARD
from . import render
from .compare import LONGEST_QUESTION, Comparison, compare, score
from .filters import Look, chosen
from .framework import gr
from .lanes import in_thread
from .models import Models, ShownAnswer, read
from .run import ShownRun
from .visitors import ForVisitors, number, told


MOST_ROWS = 200
NOT_NOW = "This cannot be answered now. Try again in a minute."
SHOWN = ("text", "answer", "reason", "finished", "score", "reward")


def calls(opened: Callable[[str], ShownRun], models: Models, most_samples: int) -> dict[str, Callable]:
    """The functions behind the names. Their docstrings are what a caller reads.

    Args:
        opened (`Callable[[str], ShownRun]`): gives the run to a visitor who may ask, or raises.
        models ([`~hfdistill.space.models.Models`]): those in memory.
        most_samples (`int`): of a model to one question.
    """

    async def final(
        request: gr.Request, question: str, temperature: float, samples: int
    ) -> tuple[ShownRun, Comparison]:
        run = await asyncio.to_thread(opened, str(request.session_hash))
        count = int(number(samples, "samples", 1, most_samples))
        async for comparison in compare(run, models, question, number(temperature, "temperature", 0, 2), count):
            last = comparison
        return run, last

    @_told
    async def compare_all(request: gr.Request, question: str, temperature: float = 0.0, samples: int = 1) -> dict:
        """Ask the teacher and every student one question, and let the reward model score their answers.

        Args:
            question: what to answer; one of the run's test questions also has its right answer.
            temperature: 0 for each model's most likely answer; above, answers are drawn.
            samples: how many answers each model draws at a temperature above 0.

        Returns:
            The question, the right answer where it is known, and for each model its answers with score and reward.
        """
        run, found = await final(request, question, temperature, samples)
        return {
            "question": found.question.question,
            "gold": found.gold,
            "pseudo_label": found.vote and found.vote.label,
            "models": [
                {
                    "role": column.role,
                    "title": column.title,
                    "state": column.state,
                    "note": column.note,
                    **render.ballots(column, run.same),
                    "answers": [_plain(answer) for answer in render.ranked(column)],
                }
                for column in found.columns
            ],
        }

    @_told
    async def score_response(request: gr.Request, question: str, response: str) -> dict:
        """Score one response to a question by the run's reward model.

        Args:
            question: what was asked.
            response: the response, exactly as it was written.

        Returns:
            The final answer read out of it, the score, and the reward that it would have earned in training (Eq. 7).
        """
        run = await asyncio.to_thread(opened, str(request.session_hash))
        asked = await asyncio.to_thread(run.question, str(question)[:LONGEST_QUESTION])
        answer = read(run.task, asked, str(response)[:20_000], True)
        async with models.turns(run.settings.ref(REWARD.name)).turn(lambda before: None):
            await in_thread(lambda stop: score(run, models, asked, [answer]))
        return _plain(answer)

    @_told
    async def best_of_n(request: gr.Request, question: str, samples: int = 8, temperature: float = 0.7) -> dict:
        """Draw several answers of the student after reward, and rank them by the reward model.

        Args:
            question: what to answer.
            samples: how many answers are drawn.
            temperature: how freely.

        Returns:
            The best answer by score, what the majority and the vote weighted by the scores say, and all answers.
        """
        run, found = await final(request, question, temperature, samples)
        column = next(column for column in found.columns if column.role == OURS.role)
        answers = [_plain(answer) for answer in render.ranked(column)]
        best = next((answer for answer in answers if answer["answer"] is not None), None)
        return {"best": best, "note": column.note, **render.ballots(column, run.same), "answers": answers}

    @_told
    async def results(
        request: gr.Request, task: str = "", filter: str = "all", search: str = "", start: int = 0, count: int = 50
    ) -> dict:
        """Read the stored answers of the evaluation.

        Args:
            task: name of the task; the run's own by default.
            filter: all, passed (teacher wrong, student right), lost (student lost what it knew), misjudged (the reward
                model prefers a wrong answer) or unanswered.
            search: words that the question holds.
            start: how many questions to pass over.
            count: how many to give, 200 at most.

        Returns:
            How many questions there are, and those asked for, each with every model's answer.
        """
        run = await asyncio.to_thread(opened, "")
        if run.results is None:
            raise ForVisitors("This run has no stored answers.")
        look = Look.read({"task": task, "filter": filter, "search": search}, run.results)
        numbers = await asyncio.to_thread(chosen, look, run.results)
        first = int(number(start, "start", 0, len(numbers)))
        some = numbers[first : first + int(number(count, "count", 0, MOST_ROWS))]
        rows = [await asyncio.to_thread(run.results.answers, look.task, int(number)) for number in some]
        return {"task": look.task, "total": len(numbers), "questions": [_question(answers) for answers in rows]}

    named = {"compare": compare_all, "score": score_response, "best_of_n": best_of_n, "results": results}
    for name, call in named.items():
        call.__name__ = name  # which MCP calls it by
    return named


def _told(call: Callable) -> Callable:
    """A call whose errors are one sentence."""

    @wraps(call)
    async def told_call(*args: Any, **options: Any) -> dict:
        try:
            return await call(*args, **options)
        except HFDistillError as error:
            raise gr.Error(told(error, NOT_NOW), print_exception=False) from error

    return told_call


def _plain(answer: ShownAnswer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in SHOWN}


def _question(rows: list[dict[str, Any]]) -> dict[str, Any]:
    one = rows[0]
    told = ("row", "response", "answer", "correct", "score", "tokens", "finish_reason")
    return {
        **{name: one[name] for name in ("question_id", "question", "options", "category", "gold")},
        "answers": [{**{name: row[name] for name in told}, "role": _role(row["row"])} for row in rows],
    }


def _role(row: str) -> str | None:
    return PAPER_ROWS[row].role if row in PAPER_ROWS else None
