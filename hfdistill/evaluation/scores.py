"""The reward model's scores of responses that were graded."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from accelerate import PartialState

from ..encoding import Encoder
from ..tasks.base import Question, Task
from ..training.shares import gather_shares, my_share
from .finished import FinishedRows


class Scores:
    """Scores that are kept, so that no response is scored twice.

    Args:
        finished ([`~hfdistill.evaluation.finished.FinishedRows`]): where they are kept.
        digest (`str`): of the reward model.
        judge ([`~hfdistill.encoding.Encoder`]): its encoder.
        load (`Callable`): loads what scores whole sequences of ids.
    """

    def __init__(
        self,
        finished: FinishedRows,
        digest: str,
        judge: Encoder,
        load: Callable[[], Callable[[list[list[int]]], Sequence[float]]],
    ):
        self.finished, self.digest, self.judge = finished, digest, judge
        self._score_ids = cache(load)

    def add(
        self,
        rows: Sequence[Mapping[str, Any]],
        key: Sequence[Any],
        questions: Mapping[str, Question],
        task: Task,
        asked: Encoder | None,
    ) -> list[dict[str, Any]]:
        """The rows with their `score`; `key` is everything that decides them, the rest as for [`score_responses`]."""

        def score() -> list[dict[str, float]]:
            scores = score_responses(rows, questions, task, self.judge, asked, self._score_ids())
            return [{"score": score} for score in scores]

        kept = self.finished.find_or_make([*key, "scores", self.digest], score)
        return [{**row, **score} for row, score in zip(rows, kept, strict=True)]


def score_responses(
    rows: Sequence[Mapping[str, Any]],
    questions: Mapping[str, Question],
    task: Task,
    judge: Encoder,
    asked: Encoder | None,
    score_ids: Callable[[list[list[int]]], Sequence[float]],
) -> list[float]:
    """Scores of responses behind their bare prompts, where the reward model was trained, each process a share.

    Args:
        rows (`Sequence[Mapping]`): with `question_id`, `response`, `finish_reason` and `token_ids`.
        questions (`Mapping[str, Question]`): by id.
        task ([`~hfdistill.tasks.base.Task`]): renders prompts.
        judge ([`~hfdistill.encoding.Encoder`]): the reward model's.
        asked ([`~hfdistill.encoding.Encoder`], *optional*): of the model that responded. Where it knows the judge's
            tokens the sampled ids are read, else the text.
        score_ids (`Callable`): the reward model, of whole sequences of ids.

    Returns:
        `list[float]`: in the order of the rows, on every process.
    """
    alike = asked is not None and asked.tokenizer.get_vocab() == judge.tokenizer.get_vocab()

    def sequence(row: Mapping[str, Any]) -> list[int]:
        ids = row.get("token_ids") if alike else None
        if ids is None:
            ids = judge.response_ids(row["response"], row["finish_reason"] != "length")
        return judge.question_ids(task, questions[row["question_id"]]) + list(ids)

    state = PartialState()
    mine = my_share([sequence(row) for row in rows], state.process_index, state.num_processes)
    return gather_shares([float(score) for score in score_ids(mine)], state.num_processes)
