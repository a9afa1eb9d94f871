"""The choice of the next token for a batch of rows with settings of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hfdistill.generation.sampling import Sampling, uniforms


@dataclass
class Likelihood:
    """The log-probability of the token drawn, and of the most likely ones, in the distribution that was drawn from."""

    logprob: float
    top: list[tuple[int, float]]


class Chooser:
    """
    Draws one token a row by inverting the cumulative distribution at one uniform number, so a row costs one number of
    noise and never depends on its neighbours.

    Args:
        settings (`Sequence[Sampling]`): one a row, each with a seed.
        device (`torch.device`): where the logits are.
    """

    def __init__(self, settings: Sequence[Sampling], device: torch.device):
        self.settings = settings
        temperatures = np.array([setting.temperature for setting in settings])
        self.greedy = temperatures == 0
        self.all_greedy = bool(self.greedy.all())
        self.any_greedy = bool(self.greedy.any())
        self.seeds = np.array([setting.seed % 2**64 for setting in settings], dtype=np.uint64)
        self.scale = torch.tensor(np.where(self.greedy, 1.0, temperatures), device=device)[:, None]
        self.top_k = [setting.top_k for setting in settings]
        self.top_p = [setting.top_p for setting in settings]
        self.penalised = [
            row
            for row, setting in enumerate(settings)
            if setting.repetition_penalty is not None or setting.frequency_penalty is not None
        ]
        self.filtered = [
            row
            for row, setting in enumerate(settings)
            if setting.temperature > 0 and (setting.top_k or setting.top_p is not None)
        ]
        self.typical = [
            row for row, setting in enumerate(settings) if setting.temperature > 0 and setting.typical_p is not None
        ]

    def choose(self, logits: torch.Tensor, counts: np.ndarray, history) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            logits (`torch.Tensor`): `(batch, vocabulary)`.
            counts (`np.ndarray`): tokens drawn before, `(batch,)`.
            history (`Callable[[int], tuple[np.ndarray, np.ndarray]]`):
                The tokens of a row: all of them, and those of the response.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: the tokens `(batch,)` and the scores `(batch, vocabulary)` that they
            were drawn from.
        """
        if self.penalised:
            logits = self._penalise(logits.clone(), history)
        if self.all_greedy:
            return logits.argmax(-1), logits
        scores = logits.double() / self.scale
        if self.filtered:
            scores = self._filter(scores)
        for row in self.typical:
            scores[row] = _typical(scores[row], self.settings[row].typical_p)
        cumulative = scores.softmax(-1).cumsum(-1)
        noise = torch.from_numpy(uniforms(self.seeds, counts)).to(cumulative.device)
        tokens = torch.searchsorted(cumulative, noise[:, None] * cumulative[:, -1:], right=True)[:, 0]
        if self.any_greedy:
            tokens = torch.where(torch.from_numpy(self.greedy).to(tokens.device), logits.argmax(-1), tokens)
        return tokens, scores

    def _penalise(self, logits: torch.Tensor, history) -> torch.Tensor:
        for row in self.penalised:
            setting = self.settings[row]
            everything, response = history(row)
            if setting.repetition_penalty is not None:
                seen = torch.from_numpy(np.unique(everything)).to(logits.device)
                old = logits[row, seen]
                logits[row, seen] = torch.where(
                    old < 0, old * setting.repetition_penalty, old / setting.repetition_penalty
                )
            if setting.frequency_penalty is not None and len(response):
                tokens, times = np.unique(response, return_counts=True)
                tokens, times = torch.from_numpy(tokens).to(logits.device), torch.from_numpy(times).to(logits.device)
                logits[row, tokens] -= setting.frequency_penalty * times.to(logits.dtype)
        return logits

    def _filter(self, scores: torch.Tensor) -> torch.Tensor:
        """Forbids what lies outside top-k, then what lies outside top-p of the rest."""
        vocabulary = scores.shape[1]
        part = scores[self.filtered]
        ordered, order = part.sort(dim=-1, descending=True, stable=True)
        limits = [min(self.top_k[row] or vocabulary, vocabulary) for row in self.filtered]
        rank = torch.arange(vocabulary, device=scores.device)
        outside = rank >= torch.tensor(limits, device=scores.device)[:, None]
        ordered = ordered.masked_fill(outside, -torch.inf)
        share = [1.0 if self.top_p[row] is None else self.top_p[row] for row in self.filtered]
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities
        beyond = before >= torch.tensor(share, device=scores.device, dtype=before.dtype)[:, None]
        # Rounding of the sum must not forbid a token where all of them are wanted.
        beyond &= torch.tensor([value < 1 for value in share], device=scores.device)[:, None]
        ordered = ordered.masked_fill(beyond, -torch.inf)
        scores[self.filtered] = torch.empty_like(part).scatter_(-1, order, ordered)
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
    """
    Args:
        scores (`torch.Tensor`): what was drawn from, `(batch, vocabulary)`.
        tokens (`torch.Tensor`): what was drawn, `(batch,)`.
        top (`list[int]`): how many of the most likely tokens to report, one a row.
    """
    logprobs = scores.double().log_softmax(-1)
    drawn = logprobs.gather(-1, tokens[:, None])[:, 0].tolist()
    most = max(top)
    if not most:
        return [Likelihood(value, []) for value in drawn]
    values, indices = logprobs.topk(min(most, logprobs.shape[-1]))
    values, indices = values.tolist(), indices.tolist()
    return [
        Likelihood(drawn[row], list(zip(indices[row], values[row], strict=True))[: top[row]])
        for row in range(len(drawn))
    ]
