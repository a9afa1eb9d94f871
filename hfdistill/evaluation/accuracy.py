"""Accuracy of greedy answers, and how far a figure from so many questions can be trusted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from ..encoding import Encoder
from ..generation import Sampling, StopStrings, generate
from ..tasks.base import Question, Task


if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Response:
    """One generated response: its `text`, the canonical `answer` in it or `None`, why it ended, and its ids.

    `tokens` holds the ids without end-of-sequence token.
    """

    text: str
    answer: str | None
    finish_reason: str
    tokens: list[int]


def wilson_interval(correct: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, which stays within 0 and 1 and holds for shares near either.

    Args:
        correct (`float`): number of successes; a tie may count one half.
        n (`int`): number of trials, at least one.
        level (`float`, *optional*, defaults to 0.95): how often such an interval holds the true share.

    Returns:
        `tuple[float, float]`: lower and upper end.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def interval(correct: float, n: int) -> dict[str, float]:
    """A share with its 95 % interval, as the cards show it: `value`, `low`, `high`, `n`."""
    low, high = wilson_interval(correct, n)
    return {"value": correct / n, "low": low, "high": high, "n": n}


def accuracy(answers: Sequence[str | None], references: Sequence[str], same: Callable[[str, str], bool]) -> float:
    """Share of answers equal to their reference. No answer is a wrong answer.

    Raises:
        `ValueError`: if there is nothing to compare, or not one answer a reference.
    """
    if not references:
        raise ValueError("accuracy of no answers is undefined")
    pairs = zip(answers, references, strict=True)
    return sum(answer is not None and same(answer, reference) for answer, reference in pairs) / len(references)


def greedy_answers(
    model: "PreTrainedModel",
    encoder: Encoder,
    task: Task,
    questions: Sequence[Question],
    *,
    shots: int = 0,
    batch_size: int = 256,
) -> list[Response]:
    """Answer questions at temperature 0.

    The task's stop strings are heeded after a few-shot prompt, which a base model goes on writing; a student that saw
    bare prompts in training ends by itself.

    Args:
        model (`PreTrainedModel`): a causal language model.
        encoder ([`~hfdistill.encoding.Encoder`]): turns text into ids.
        task ([`~hfdistill.tasks.base.Task`]): renders prompts and reads answers.
        questions (`Sequence[Question]`): what to answer.
        shots (`int`, *optional*, defaults to 0): examples in the prompt.
        batch_size (`int`, *optional*, defaults to 256): rows generated at once.

    Returns:
        `list[Response]`: one a question, in their order.
    """
    stop_strings = task.stop if shots else ()
    generated = generate(
        model,
        [encoder.prompt_ids(task.prompt(question, shots=shots)) for question in questions],
        Sampling(max_new_tokens=task.max_new_tokens),
        eos_token_id=encoder.eos_token_id,
        pad_token_id=encoder.pad_token_id,
        batch_size=batch_size,
        stop=StopStrings(encoder.tokenizer, stop_strings) if stop_strings else None,
    )
    responses = []
    for question, row in zip(questions, generated, strict=True):
        text = cut(encoder.decode(row.token_ids), stop_strings)
        responses.append(Response(text, task.extract(text, question).value, row.finish_reason, row.token_ids))
    return responses


def cut(text: str, stop_strings: Sequence[str]) -> str:
    """The text before the first of the stop strings, none of which belongs to a response."""
    ends = [text.find(string) for string in stop_strings]
    return text[: min([end for end in ends if end >= 0], default=len(text))]
