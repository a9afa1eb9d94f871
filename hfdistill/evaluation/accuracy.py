"""Accuracy of greedy answers, and how far a figure from so many questions can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..encoding import Encoder
from ..generation import Sampling, StopStrings, generate
from ..generation.stopping import cut
from ..tasks.base import Question, Task
from .intervals import interval, wilson_interval


if TYPE_CHECKING:
    from transformers import PreTrainedModel


__all__ = ["Response", "accuracy", "cut", "greedy_answers", "interval", "wilson_interval"]


@dataclass(frozen=True)
class Response:
    """One generated response: its `text`, the canonical `answer` in it or `None`, why it ended, and its ids.

    `tokens` holds the ids without end-of-sequence token.
    """

    text: str
    answer: str | None
    finish_reason: str
    tokens: list[int]


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
