"""How the next token is drawn: the settings of a row, its noise, and what comes back."""

from dataclasses import dataclass, field

import numpy as np

from ..errors import HFDistillError


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Sampling:
    """The settings of one row.

    Args:
        max_new_tokens (`int`): the most tokens to draw; the end token counts.
        temperature (`float`, *optional*, defaults to 0.0): divides the logits; 0 takes the most likely token.
        top_k (`int`, *optional*): draw among the `top_k` most likely tokens.
        top_p (`float`, *optional*): draw among the most likely tokens that together reach this probability.
        typical_p (`float`, *optional*): draw among the locally typical tokens that together reach this probability.
        repetition_penalty (`float`, *optional*): divides the positive and multiplies the negative logits of tokens
            already in prompt or response.
        frequency_penalty (`float`, *optional*): subtracted from a token's logit once for every time that it is already
            in the response.
        presence_penalty (`float`, *optional*): subtracted once from the logit of every token in the response.
        min_p (`float`, *optional*): draw among the tokens that are at least so likely, as a share of the most likely
            one's probability.
        seed (`int`, *optional*): the row's noise is a function of the seed and the number of tokens drawn so far, so
            the same seed gives the same text alone and in any batch. Without a seed one is drawn from torch's global
            generator.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    min_p: float | None = None
    seed: int | None = None

    def __post_init__(self):
        if self.max_new_tokens < 1:
            raise HFDistillError(f"max_new_tokens is {self.max_new_tokens}, it must be at least 1")
        if self.temperature < 0:
            raise HFDistillError(f"temperature is {self.temperature}, it must be 0 (greedy) or above")
        if self.top_k is not None and self.top_k < 1:
            raise HFDistillError(f"top_k is {self.top_k}, it must be at least 1; leave it out to draw from all tokens")
        for name, value in (("top_p", self.top_p), ("typical_p", self.typical_p)):
            if value is not None and not 0 < value <= 1:
                raise HFDistillError(f"{name} is {value}, it must be above 0 and at most 1")


@dataclass
class Generated:
    """One response.

    Attributes:
        token_ids (`list[int]`): the tokens drawn, without the end token.
        finish_reason (`str`): `"eos_token"`, `"length"` or `"stop_sequence"`.
        end_token_id (`int`, *optional*): which of the model's end tokens ended it, if one did.
        log_probs (`list[float]`, *optional*): what each token was drawn with, the end token included, where that was
            asked for, or another back end drew them.
    """

    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = "length"
    end_token_id: int | None = None
    log_probs: list[float] | None = None

    @property
    def drawn_ids(self) -> list[int]:
        """All tokens drawn, the end token included: choosing it is an action, too."""
        return self.token_ids if self.end_token_id is None else [*self.token_ids, self.end_token_id]


def _mix(state: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every bit of the result depends on every bit of `state`."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


def uniforms(seeds: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """One number in [0, 1) a row, from its seed and the count of tokens drawn before.

    Args:
        seeds (`np.ndarray`): uint64, shape `(batch,)`.
        counts (`np.ndarray`): int64, shape `(batch,)`.

    Returns:
        `np.ndarray`: float64, `(batch,)`. 52 bits, so that the product with a sum of probabilities stays below it.
    """
    state = _mix(seeds * _GOLDEN + _GOLDEN)
    state = _mix(state + (counts.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (state >> np.uint64(12)).astype(np.float64) * 2.0**-52


def row_seeds(seed: int, rows: int) -> list[int]:
    """The seeds of the rows of a call of `generate` that was given one `Sampling` with a seed: row `i` comes again
    alone with `Sampling(seed=row_seeds(seed, i + 1)[i])`. Rows differ even where their prompts are equal.
    """
    base = _mix(np.array([seed % 2**64], dtype=np.uint64) ^ _MIX_1)
    indices = np.arange(1, rows + 1, dtype=np.uint64)
    return [int(value) for value in _mix(base + indices * _GOLDEN) >> np.uint64(1)]
