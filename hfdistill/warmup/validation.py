"""What chooses the warm-up's checkpoint: greedy accuracy on validation questions, or likelihood of good responses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import PreTrainedModel

from ..encoding import Encoder
from ..evaluation.answering import greedy_answers
from ..llama import LOGITS_AT_ONCE
from ..tasks.base import Question, Task
from ..training.best_checkpoint import ACCURACY, LIKELIHOOD
from ..training.shares import cut_into_passes, gather_shares, my_share


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
        return {ACCURACY: sum(correct) / n, "no_answer": sum(no_answer) / n, "tokens": sum(tokens) / n}


@dataclass(frozen=True)
class LikelihoodValidation:
    """Good responses to the validation questions of an open-ended task, `examples` with the columns `input_ids` and
    `labels` (from [`~hfdistill.warmup.examples.encode_examples`]).
    """

    task: Task
    encoder: Encoder
    questions: Sequence[Question]
    examples: Dataset

    @torch.no_grad()
    def figures(self, model: PreTrainedModel, rank: int = 0, processes: int = 1) -> dict[str, float]:
        """Compute every process's share, and return `likelihood`: the geometric mean of the probabilities that the
        model gives to the responses' tokens.
        """
        rows = list(zip(self.examples["input_ids"], self.examples["labels"], strict=True))
        mine = my_share(rows, rank, processes)
        most = LOGITS_AT_ONCE // model.config.get_text_config().vocab_size
        losses: list[tuple[float, int]] = [(0.0, 0)] * len(mine)
        trained = model.training
        model.eval()
        lengths = [len(ids) for ids, _ in mine]
        order = sorted(range(len(mine)), key=lambda row: -lengths[row])
        for those in cut_into_passes(order, lengths, most):
            padded = [
                torch.nn.utils.rnn.pad_sequence([torch.tensor(mine[row][of]) for row in those], True, value)
                for of, value in ((0, self.encoder.pad_token_id), (1, -100))
            ]
            # Padding stands at the end, where no causal position looks.
            ids, labels = (tensor.to(model.device) for tensor in padded)
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
            each = F.cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none")
            counts = (labels[:, 1:] != -100).sum(1)
            for row, loss, count in zip(those, each.sum(1).tolist(), counts.tolist(), strict=True):
                losses[row] = (loss, count)
        model.train(trained)
        loss, tokens = zip(*gather_shares(losses, processes), strict=True)
        return {LIKELIHOOD: math.exp(-math.fsum(loss) / sum(tokens))}
