"""The choice of the next token for a batch of rows with settings of their own."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .sampling import Sampling, uniforms


@dataclass
class Likelihood:
    """The log-probability of the token drawn, and of the most likely ones, in the distribution that was drawn from.
    What top-k and its kin forbid is not among them.
    """

    logprob: float
    top: list[tuple[int, float]]


class Chooser:
    """Draws one token a row by inverting the cumulative distribution at one uniform number, so a row costs one number
    of noise and never depends on its neighbours.
    """

    def __init__(self, rows: int, device: torch.device):
        self.temperature = np.zeros(rows)
        self.seed = np.zeros(rows, dtype=np.uint64)
        self.top_k = np.zeros(rows, dtype=np.int64)
        self.top_p = np.ones(rows)
        self.typical_p = np.ones(rows)
        self.repetition = np.ones(rows)
        self.frequency = np.zeros(rows)
        # All of the above, which move together.
        self._columns = list(vars(self).values())
        self.device = device

    def place(self, slot: int, sampling: Sampling) -> None:
        """A row with these settings sits down at `slot`; they have a seed unless they are greedy."""
        self.temperature[slot] = sampling.temperature
        self.seed[slot] = (sampling.seed or 0) % 2**64
        self.top_k[slot] = sampling.top_k or 0
        self.top_p[slot] = 1.0 if sampling.top_p is None else sampling.top_p
        self.typical_p[slot] = 1.0 if sampling.typical_p is None else sampling.typical_p
        self.repetition[slot] = 1.0 if sampling.repetition_penalty is None else sampling.repetition_penalty
        self.frequency[slot] = 0.0 if sampling.frequency_penalty is None else sampling.frequency_penalty

    def move(self, sources: list[int], targets: list[int]) -> None:
        """Rows change their slots."""
        for column in self._columns:
            column[targets] = column[sources]

    def choose(
        self,
        logits: torch.Tensor,
        counts: np.ndarray,
        history: Callable[[int], tuple[np.ndarray, np.ndarray]],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose the next token of each of the first rows.

        Args:
            logits (`torch.Tensor`): `(batch, vocabulary)`, of the first slots.
            counts (`np.ndarray`): tokens drawn before, `(batch,)`.
            history (`Callable`): the tokens of a row: all of them, and those of the response.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: the tokens `(batch,)` and the scores `(batch, vocabulary)` that they
            were drawn from.
        """
        count = len(logits)
        penalised = (self.repetition[:count] != 1) | (self.frequency[:count] != 0)
        if penalised.any():
            logits = self._penalise(logits.clone(), penalised.nonzero()[0].tolist(), history)
        temperature = self.temperature[:count]
        greedy = temperature == 0
        if greedy.all():
            return logits.argmax(-1), logits
        scale = np.where(greedy, 1.0, temperature)
        scores = logits.double() / torch.from_numpy(scale).to(self.device)[:, None]
        scores = self._filter(scores, ~greedy)
        cumulative = scores.softmax(-1).cumsum(-1)
        noise = torch.from_numpy(uniforms(self.seed[:count], counts)).to(self.device)
        tokens = torch.searchsorted(cumulative, noise[:, None] * cumulative[:, -1:], right=True)[:, 0]
        if greedy.any():
            tokens = torch.where(torch.from_numpy(greedy).to(self.device), logits.argmax(-1), tokens)
        return tokens, scores

    def _penalise(self, logits: torch.Tensor, rows: list[int], history) -> torch.Tensor:
        largest = min(torch.finfo(logits.dtype).max, torch.finfo(torch.float32).max)
        for row in rows:
            everything, response = history(row)
            if self.repetition[row] != 1:
                seen = torch.from_numpy(np.unique(everything)).to(self.device)
                old = logits[row, seen]
                new = torch.where(old < 0, old * self.repetition[row], old / self.repetition[row])
                # The difference of two infinities would be no number.
                logits[row, seen] = new.clamp(-largest, largest)
            if self.frequency[row] != 0 and len(response):
                tokens, times = np.unique(response, return_counts=True)
                penalty = torch.from_numpy(self.frequency[row] * times).to(self.device, logits.dtype)
                logits[row, torch.from_numpy(tokens).to(self.device)] -= penalty
        return logits

    def _filter(self, scores: torch.Tensor, drawn: np.ndarray) -> torch.Tensor:
        """Forbids what lies outside top-k, then what lies outside top-p of the rest, then the untypical."""
        count, vocabulary = scores.shape
        top_k, top_p, typical_p = self.top_k[:count], self.top_p[:count], self.typical_p[:count]
        rows = (drawn & ((top_k > 0) | (top_p < 1))).nonzero()[0]
        if len(rows):
            part = scores[rows]
            ordered, order = part.sort(dim=-1, descending=True, stable=True)
            limits = np.where(top_k[rows] > 0, np.minimum(top_k[rows], vocabulary), vocabulary)
            rank = torch.arange(vocabulary, device=self.device)
            ordered = ordered.masked_fill(rank >= torch.from_numpy(limits).to(self.device)[:, None], -torch.inf)
            probabilities = ordered.softmax(-1)
            share = torch.from_numpy(top_p[rows]).to(self.device)[:, None]
            # Rounding of the sum must not forbid a token where all of them are wanted.
            beyond = (probabilities.cumsum(-1) - probabilities >= share) & (share < 1)
            scores[rows] = torch.empty_like(part).scatter_(-1, order, ordered.masked_fill(beyond, -torch.inf))
        for row in (drawn & (typical_p < 1)).nonzero()[0].tolist():
            scores[row] = _typical(scores[row], typical_p[row])
        return scores


def _typical(scores: torch.Tensor, mass: float) -> torch.Tensor:
    """Keeps the tokens whose surprise is nearest to the entropy, up to `mass` (Meister et al., 2022)."""
    logprobs = scores.log_softmax(-1)
    probabilities = logprobs.exp()
    entropy = -torch.nansum(logprobs * probabilities)
    order = torch.argsort((-logprobs - entropy).abs(), stable=True)
    total = probabilities[order].cumsum(0)
    kept = int((total < mass).sum()) + 1
    return scores.index_fill(0, order[kept:], -torch.inf)


def likelihoods(scores: torch.Tensor, tokens: torch.Tensor, top: list[int]) -> list[Likelihood]:
    """Log-probabilities of the tokens drawn, `(batch,)`, from scores `(batch, vocabulary)`, and of so many of the most
    likely ones as `top` says for each row.
    """
    logprobs = scores.double().log_softmax(-1)
    drawn = logprobs.gather(-1, tokens[:, None])[:, 0].tolist()
    most = max(top)
    if not most:
        return [Likelihood(logprob, []) for logprob in drawn]
    values, indices = logprobs.topk(min(most, logprobs.shape[-1]))
    return [
        Likelihood(logprob, [pair for pair in zip(ids[:count], likeliest, strict=False) if pair[1] > -math.inf])
        for logprob, ids, likeliest, count in zip(drawn, indices.tolist(), values.tolist(), top, strict=True)
    ]
