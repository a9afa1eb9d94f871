"""Several samples of a model to each test question, kept as they finish."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from accelerate import PartialState

from ..encoding import Encoder
from ..progress import Progress
from ..tasks.base import Question, Task
from ..training.shares import gather_shares, my_share
from .answering import sampled_answers
from .config import EvaluateConfig
from .finished import FinishedRows


if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLES_A_ROUND = 1024


def sample_rounds(
    load: Callable[[], "PreTrainedModel"],
    encoder: Encoder,
    task: Task,
    questions: Sequence[Question],
    golds: Mapping[str, str],
    name: str,
    stage: EvaluateConfig,
    finished: FinishedRows,
    key: Sequence[Any],
    shots: int,
) -> list[dict[str, Any]]:
    """Samples of a row of the table, round by round of questions: a round that is finished is not sampled again.

    Args:
        load (`Callable`): loads the model, if a round is missing.
        golds (`Mapping[str, str]`): canonical golds by question id.
        name (`str`): the row's.
        stage ([`~hfdistill.evaluation.config.EvaluateConfig`]): says how many, and at which temperature.
        finished ([`~hfdistill.evaluation.finished.FinishedRows`]), key (`Sequence`): where rounds are kept, and
            everything that decides the samples.
        shots (`int`): worked examples in front of a question.

    Returns:
        `list[dict]`: rows of the config `samples` of the results and their `token_ids`, question by question in
        order, the same on every process.
    """
    state, model, made, samples = PartialState(), cache(load), [], max(stage.votes)
    how = {"temperature": stage.vote_temperature, "shots": shots, "batch_size": stage.batch_size}

    def sample(asked: list[tuple[Question, int]]) -> list[dict[str, Any]]:
        mine = my_share(asked, state.process_index, state.num_processes)
        drawn = gather_shares(sampled_answers(model(), encoder, task, mine, **how), state.num_processes)
        return [
            {
                "task": task.name,
                "row": name,
                "question_id": question.question_id,
                "sample": number,
                "response": one.text,
                "answer": one.answer,
                "correct": task.correct(one.answer, golds[question.question_id]),
                "tokens": one.tokens,
                "finish_reason": one.finish_reason,
                "token_ids": one.token_ids,
            }
            for (question, number), one in zip(asked, drawn, strict=True)
        ]

    size = max(1, SAMPLES_A_ROUND // samples)
    with Progress(
        f"{name}: samples", len(questions) * samples, "responses", enabled=state.is_main_process
    ) as progress:
        for first in range(0, len(questions), size):
            asked = [(question, number) for question in questions[first : first + size] for number in range(samples)]
            made += finished.find_or_make([*key, first, size], partial(sample, asked))
            progress.update(len(made))
    return made
