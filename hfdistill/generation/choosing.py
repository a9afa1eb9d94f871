"""The choice of the next token for a batch of rows with settings of their own."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .sampling import Sampling, uniforms


# Of a larger vocabulary, a block of so many tokens is drawn first, and then one of them.
_BLOCK = 64
_ONE_BLOCK = 1024
_BELOW_ONE = 1 - 2.0**-52


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
        self.presence = np.zeros(rows)
        self.min_p = np.zeros(rows)
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
        self.frequency[slot] = sampling.frequency_penalty or 0.0
        self.presence[slot] = sampling.presence_penalty or 0.0
        self.min_p[slot] = sampling.min_p or 0.0

    def move(self, sources: list[int], targets: list[int]) -> None:
        """Rows change their slots."""
        for column in self._columns:
            column[targets] = column[sources]

    def draws(self, counts: np.ndarray) -> np.ndarray:
        """Noise and temperature of the first rows' next draws.

        Args:
            counts (`np.ndarray`): tokens drawn before, `(batch,)`.

        Returns:
            `np.ndarray`: float64, `(2, batch)`.
        """
        count = len(counts)
        return np.stack([uniforms(self.seed[:count], counts), self.temperature[:count]])

    def choose(
        self,
        logits: torch.Tensor,
        draws: torch.Tensor,
        history: Callable[[int], tuple[np.ndarray, np.ndarray]],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose the next token of each of the first rows.

        Args:
            logits (`torch.Tensor`): `(batch, vocabulary)`, of the first slots.
            draws (`torch.Tensor`): from [`~Chooser.draws`], `(2, batch)`.
            history (`Callable`): the tokens of a row: all of them, and those of the response.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: the tokens `(batch,)`, -1 where the scores are not numbers, and the
            scores `(batch, vocabulary)` that they were drawn from.
        """
        count = len(logits)
        counted = (self.frequency[:count] != 0) | (self.presence[:count] != 0)
        penalised = (self.repetition[:count] != 1) | counted
        if penalised.any():
            logits = self._penalise(logits.clone(), penalised.nonzero()[0].tolist(), history)
        greedy = self.temperature[:count] == 0
        if greedy.all():
            return _likeliest(logits), logits
        noise, temperature = draws
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        # For a row whose temperature is 1 this changes nothing, so its draw does not depend on its neighbours'.
        if (self.temperature[:count] != 1).any():
            smallest = torch.finfo(scores.dtype).tiny
            divisor = temperature.where(temperature != 0, 1).to(scores.dtype).clamp_(min=smallest)
            scores = (scores - scores.amax(-1, keepdim=True)).div_(divisor[:, None])
        scores = self._filter(scores, ~greedy)
        tokens = _drawn(scores.softmax(-1), noise)
        if greedy.any():
            tokens = torch.where(temperature == 0, _likeliest(logits), tokens)
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
            if (self.frequency[row] != 0 or self.presence[row] != 0) and len(response):
                tokens, times = np.unique(response, return_counts=True)
                penalty = self.frequency[row] * times + self.presence[row]
                penalty = torch.from_numpy(penalty).to(self.device, logits.dtype)
                logits[row, torch.from_numpy(tokens).to(self.device)] -= penalty
        return logits

    def _filter(self, scores: torch.Tensor, drawn: np.ndarray) -> torch.Tensor:
        """Forbids what is less likely than min-p allows, then what lies outside top-k, then what lies outside top-p of
        the rest, then the untypical.
        """
        count, vocabulary = scores.shape
        top_k, top_p, typical_p = self.top_k[:count], self.top_p[:count], self.typical_p[:count]
        rows = (drawn & (self.min_p[:count] > 0)).nonzero()[0]
        if len(rows):
            index = torch.from_numpy(rows).to(self.device)
            part, least = scores[index], torch.from_numpy(np.log(self.min_p[rows])).to(self.device, scores.dtype)
            unlikely = part < part.amax(-1, keepdim=True) + least[:, None]
            scores = scores.index_copy(0, index, part.masked_fill(unlikely, -torch.inf))
        rows = (drawn & ((top_k > 0) | (top_p < 1))).nonzero()[0]
        if len(rows):
            index = torch.from_numpy(rows).to(self.device)
            part = scores[index]
            ordered, order = part.sort(dim=-1, descending=True, stable=True)
            limits = np.where(top_k[rows] > 0, np.minimum(top_k[rows], vocabulary), vocabulary)
            rank = torch.arange(vocabulary, device=self.device)
            ordered = ordered.masked_fill(rank >= torch.from_numpy(limits).to(self.device)[:, None], -torch.inf)
            probabilities = ordered.softmax(-1)
            share = torch.from_numpy(top_p[rows]).to(self.device)[:, None]
            # Rounding of the sum must not forbid a token where all of them are wanted.
            beyond = (probabilities.cumsum(-1, dtype=torch.float64) - probabilities >= share) & (share < 1)
            kept = torch.empty_like(part).scatter_(-1, order, ordered.masked_fill(beyond, -torch.inf))
            scores = scores.index_copy(0, index, kept)
        for row in (drawn & (typical_p < 1)).nonzero()[0].tolist():
            index = torch.tensor([row], device=self.device)
            scores = scores.index_copy(0, index, _typical(scores[row], typical_p[row])[None])
        return scores


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The most likely token of each row, -1 where one is not a number, which counts as the largest."""
    largest, tokens = logits.max(-1)
    return tokens.masked_fill(largest.isnan(), -1)


def _drawn(weights: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The tokens at which the cumulative sums of weights `(batch, vocabulary)` pass `noise` `(batch,)` times their
    total, -1 where that is no number.
    """
    first = torch.zeros_like(noise, dtype=torch.long)
    if weights.shape[-1] > _ONE_BLOCK:
        first, weights, noise = _block(weights, noise)
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    within = torch.searchsorted(cumulative, noise[:, None] * total, right=True)[:, 0]
    return (first + within).masked_fill(total[:, 0].isnan(), -1)


def _block(weights: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same draw within one block of the vocabulary: where it begins, `(batch,)`, its weights, `(batch, block)`,
    and what is left of the noise.
    """
    blocks = F.pad(weights, (0, -weights.shape[-1] % _BLOCK)).unflatten(-1, (-1, _BLOCK))
    sums = blocks.sum(-1)
    cumulative = sums.cumsum(-1, dtype=torch.float64)
    wanted = noise[:, None] * cumulative[:, -1:]
    block = torch.searchsorted(cumulative, wanted, right=True).clamp_(max=cumulative.shape[-1] - 1)
    size = sums.gather(-1, block)
    left = (wanted - cumulative.gather(-1, block) + size) / size
    chosen = blocks.gather(1, block[..., None].expand(-1, -1, _BLOCK))[:, 0]
    return block[:, 0] * _BLOCK, chosen, left[:, 0].clamp(0, _BELOW_ONE)


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
    logprobs = scores.log_softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    most = min(max(top), logprobs.shape[-1])
    values, indices = logprobs.topk(most)
    drawn = logprobs.gather(-1, tokens.clamp(min=0)[:, None])
    # Together, so that they come from the device at once; a token's id is exact in float64.
    found = torch.cat([drawn.double(), values.double(), indices.double()], dim=-1).tolist()
    result = []
    for (logprob, *rest), count in zip(found, top, strict=True):
        pairs = list(zip(rest[most:], rest[:most], strict=True))[:count]
        result.append(Likelihood(logprob, [(int(token), value) for token, value in pairs if value > -math.inf]))
    return result
