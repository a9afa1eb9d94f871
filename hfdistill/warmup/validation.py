"""Greedy accuracy on validation questions, by which the warm-up chooses its checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from ..encoding import Encoder
from ..evaluation.answering import greedy_answers
from ..tasks.base import Question, Task
from ..training.shares import gather_shares, my_share


@dataclass(frozen=True)
class Validation:
    """Validation questions with the canonical answer to each, pseudo-label or gold, of which `batch_size` are asked at
    once.
    """

    task: Task
    encoder: Encoder
    questions: Sequence[Question]
    references: Sequence[str]
    batch_size: int

    def figures(self, model: PreTrainedModel, rank: int = 0, processes: int = 1) -> dict[str, float]:
        """Ask every process its share, and return `accuracy`, `no_answer` (shares) and `tokens` (mean)."""
        pairs = my_share(list(zip(self.questions, self.references, strict=True)), rank, processes)
        answers = greedy_answers(
            model, self.encoder, self.task, [question for question, _ in pairs], batch_size=self.batch_size
        )
        mine = [
            (self.task.correct(answer.answer, reference), answer.answer is None, answer.tokens)
            for answer, (_, reference) in zip(answers, pairs, strict=True)
        ]
        correct, no_answer, tokens = zip(*gather_shares(mine, processes), strict=True)
        n = len(self.questions)
        return {"accuracy": sum(correct) / n, "no_answer": sum(no_answer) / n, "tokens": sum(tokens) / n}
