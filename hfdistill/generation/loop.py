"""A running batch: rows join, draw a token a step, and leave as soon as they are done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from ..encoding import right_pad
from ..errors import HFDistillError
from ..llama import decoding_passes
from .choosing import Chooser, Likelihood, likelihoods
from .prefixes import BLOCK, Joining, KeptBlock, Prefixes
from .sampling import Generated, Sampling
from .stopping import StopStrings


PREFIX_BYTES = 2**28
_PREFILL_TOKENS = 8192
# Fewer positions are read as soon by each row for itself.
_FEWEST_ALIKE = 192


@dataclass(eq=False)
class Row:
    """One response in the making.

    Args:
        prompt_ids (`list[int]`): at least one token.
        sampling (`Sampling`): settings.
        stop (`StopStrings` or `Callable`, *optional*): given the response's tokens, says whether it ends.
        likelihood (`bool`, *optional*, defaults to `False`): whether `likelihoods` is kept.
        top_tokens (`int`, *optional*, defaults to 0): how many alternatives `likelihoods` has a token.
        tag (`Any`, *optional*): the owner's.

    Attributes:
        token_ids (`list[int]`): filled when the row leaves, with the end token.
        finish_reason (`str`): one of [`Generated`]'s, or `"failed"` where the model's scores are not numbers.
    """

    prompt_ids: list[int]
    sampling: Sampling
    stop: StopStrings | Callable[[list[int]], bool] | None = None
    likelihood: bool = False
    top_tokens: int = 0
    tag: Any = None
    slot: int = -1
    token_ids: list[int] = field(default_factory=list)
    likelihoods: list[Likelihood] = field(default_factory=list)
    finish_reason: str | None = None

    def generated(self) -> Generated:
        """The finished response."""
        log_probs = [drawn.logprob for drawn in self.likelihoods] if self.likelihood else None
        if self.finish_reason != "eos_token":
            return Generated(self.token_ids, self.finish_reason, log_probs=log_probs)
        return Generated(self.token_ids[:-1], self.finish_reason, self.token_ids[-1], log_probs)


class DecodeLoop:
    """Serves a list of prompts (`generate`) and a server's requests alike. Rows occupy the first slots of the cache
    without gaps: where one leaves, the last one takes its place. All of a prompt but its last token is computed when
    its row joins, or copied from a row that has the same prompt; the last token goes through the same step as
    everybody's. How several prompts begin is computed once and kept, even when they come one after the other.

    The caller sets the mode of the model and the gradient mode.

    Args:
        model: a decoder-only `PreTrainedModel`.
        eos_token_id (`int` or `list[int]`): what ends a response; an empty list for nothing.
        pad_token_id (`int`): fills up prompts; never attended to.
        max_rows (`int`): the most rows at a time.
        prefix_bytes (`int`, *optional*, defaults to 256 MiB): the most memory for what is kept of beginnings.
    """

    def __init__(
        self,
        model,
        *,
        eos_token_id: int | list[int],
        pad_token_id: int,
        max_rows: int,
        prefix_bytes: int = PREFIX_BYTES,
    ):
        self.forward = decoding_passes(model, max_rows)
        self.device = model.device
        self.eos = np.atleast_1d(np.asarray(eos_token_id, dtype=np.int64))
        self.pad_token_id = pad_token_id
        self.max_rows = max_rows
        self.rows: list[Row] = []
        self.chooser = Chooser(max_rows, self.device)
        self.tokens = np.zeros((max_rows, 64), dtype=np.int64)
        self.positions = np.zeros(max_rows, dtype=np.int64)
        self.starts = np.zeros(max_rows, dtype=np.int64)
        self.limits = np.zeros(max_rows, dtype=np.int64)
        self.prefixes = Prefixes(prefix_bytes)
        self._alike = 0
        self._asking: set[Row] = set()
        # Who has a prompt in the cache already, oldest first.
        self._holders: dict[tuple[int, ...], dict[Row, None]] = {}

    @property
    def free(self) -> int:
        """How many rows may join now."""
        return self.max_rows - len(self.rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Lets rows join.

        Raises:
            `HFDistillError`: too many rows, or an empty prompt; then none has joined.
        """
        if len(rows) > self.free:
            raise HFDistillError(f"{len(rows)} rows for {self.free} free places")
        if not all(row.prompt_ids for row in rows):
            raise HFDistillError("a prompt has no token at all; give at least a beginning-of-sequence token")
        longest = max((len(row.prompt_ids) for row in rows), default=0)
        self._reserve(longest + 1)
        self.forward.fit(len(self.rows) + len(rows), max(longest, self._longest()))
        fresh: dict[tuple[int, ...], Row] = {}
        again: list[Row] = []
        for row in rows:
            prompt = tuple(row.prompt_ids)
            if prompt in self._holders or prompt in fresh:
                again.append(row)
            else:
                fresh[prompt] = row
        for wave in self.prefixes.waves(list(fresh)):
            for group in _groups(wave):
                self._prefill(group, len(self.rows))
                for joined in group:
                    row = fresh[joined.prompt]
                    self._place(row)
                    self.prefixes.keep(joined, partial(self.forward.read_row, row.slot))
        for row in again:
            holder = next(iter(self._holders[tuple(row.prompt_ids)]))
            self.forward.copy_rows([holder.slot], [len(self.rows)], len(row.prompt_ids) - 1)
            self._place(row)
        self._alike = self._count_alike()

    def step(self) -> list[Row]:
        """Draws one token for every row; the rows that are done thereby leave and are returned."""
        count = len(self.rows)
        if not count:
            return []
        every = np.arange(count)
        positions = self.positions[:count]
        length = self._longest()
        self._reserve(length + 1)
        draws = self.chooser.draws(positions + 1 - self.starts[:count])
        # All that the device is told in a step, and below all that it says: two transfers, and it waits in one.
        told = np.vstack([self.tokens[every, positions], positions, draws.view(np.int64)])
        told = torch.from_numpy(told).to(self.device)
        logits = self.forward.decode(told[0], told[1], length, self._alike)
        tokens, scores = self.chooser.choose(logits, told[2:].view(torch.float64), self._history)
        self._note_likelihoods(scores, tokens)
        tokens = tokens.cpu().numpy()
        self.positions[:count] += 1
        self.tokens[every, self.positions[:count]] = tokens
        return self._leave(self._finished(tokens))

    def cancel(self, rows: Sequence[Row]) -> None:
        """Takes rows out that nobody waits for any more."""
        self._leave([row.slot for row in rows if row.slot >= 0])

    def last_token(self, row: Row) -> int:
        """The token drawn last for a row in the batch."""
        return int(self.tokens[row.slot, self.positions[row.slot]])

    def response_ids(self, row: Row) -> list[int]:
        """The tokens drawn so far for a row in the batch."""
        return self.tokens[row.slot, self.starts[row.slot] : self.positions[row.slot] + 1].tolist()

    def _prefill(self, group: list[Joining], first: int) -> None:
        held: dict[KeptBlock, list[int]] = {}
        for slot, joining in enumerate(group, first):
            if joining.held:
                held.setdefault(joining.held[-1], []).append(slot)
        for slots in held.values():
            self.forward.write_rows(slots, [block.states for block in group[slots[0] - first].held])
        left = [joining.left - 1 for joining in group]
        if not any(left):
            return
        if not held:
            inputs, _ = right_pad([joining.prompt[:-1] for joining in group], self.pad_token_id)
            self.forward.prefill(inputs.to(self.device), first)
            return
        # Who has fewer tokens left gives the last one again, at its own place.
        steps = np.arange(max(left))
        positions = [np.maximum(joining.past + np.minimum(steps, joining.left - 2), 0) for joining in group]
        tokens = [np.array(joining.prompt)[places] for joining, places in zip(group, positions, strict=True)]
        told = torch.from_numpy(np.array([tokens, positions])).to(self.device)
        self.forward.go_on(told[0], told[1], first, max(len(joining.prompt) for joining in group) - 1)

    def _place(self, row: Row) -> None:
        slot = len(self.rows)
        length = len(row.prompt_ids)
        self.tokens[slot, :length] = row.prompt_ids
        self.positions[slot] = length - 1
        self.starts[slot] = length
        self.limits[slot] = length + row.sampling.max_new_tokens - 1
        self.chooser.place(slot, row.sampling)
        row.slot = slot
        self.rows.append(row)
        self._holders.setdefault(tuple(row.prompt_ids), {})[row] = None
        if row.stop is not None or row.likelihood:
            self._asking.add(row)

    def _history(self, slot: int) -> tuple[np.ndarray, np.ndarray]:
        end = self.positions[slot] + 1
        return self.tokens[slot, :end], self.tokens[slot, self.starts[slot] : end]

    def _note_likelihoods(self, scores: torch.Tensor, tokens: torch.Tensor) -> None:
        wanted = [row for row in self._asking if row.likelihood]
        if not wanted:
            return
        slots = [row.slot for row in wanted]
        top = [row.top_tokens for row in wanted]
        for row, likelihood in zip(wanted, likelihoods(scores[slots], tokens[slots], top), strict=True):
            row.likelihoods.append(likelihood)

    def _finished(self, tokens: np.ndarray) -> list[int]:
        count = len(tokens)
        ended = np.zeros(count, dtype=bool)
        for token in self.eos:
            ended |= tokens == token
        full = self.positions[:count] >= self.limits[:count]
        reasons = dict.fromkeys(full.nonzero()[0].tolist(), "length")
        for row in self._asking:
            if row.stop is not None and self._stops(row, int(tokens[row.slot])):
                reasons[row.slot] = "stop_sequence"
        reasons.update(dict.fromkeys(ended.nonzero()[0].tolist(), "eos_token"))
        reasons.update(dict.fromkeys((tokens < 0).nonzero()[0].tolist(), "failed"))
        for slot, reason in reasons.items():
            self.rows[slot].finish_reason = reason
        return list(reasons)

    def _stops(self, row: Row, token: int) -> bool:
        if isinstance(row.stop, StopStrings) and not row.stop.may_end(token):
            return False
        return row.stop(self.response_ids(row))

    def _leave(self, slots: list[int]) -> list[Row]:
        if not slots:
            return []
        left = [self.rows[slot] for slot in slots]
        length = self._longest()
        for row in left:
            row.token_ids = self.response_ids(row)
        # What is forbidden to attend to has weight 0, and 0 times what is no number is no number either.
        self.forward.clear_rows([row.slot for row in left if row.finish_reason == "failed"])
        gone = set(slots)
        remaining = len(self.rows) - len(slots)
        holes = [slot for slot in sorted(slots) if slot < remaining]
        movers = [slot for slot in range(remaining, len(self.rows)) if slot not in gone]
        self.forward.copy_rows(movers, holes, length)
        self.chooser.move(movers, holes)
        for array in (self.tokens, self.positions, self.starts, self.limits):
            array[holes] = array[movers]
        for mover, hole in zip(movers, holes, strict=True):
            self.rows[hole] = self.rows[mover]
            self.rows[hole].slot = hole
        del self.rows[remaining:]
        for row in left:
            row.slot = -1
            prompt = tuple(row.prompt_ids)
            del self._holders[prompt][row]
            if not self._holders[prompt]:
                del self._holders[prompt]
        self._asking.difference_update(left)
        self.forward.fit(remaining, self._longest())
        self._alike = self._count_alike()
        return left

    def _count_alike(self) -> int:
        """How many tokens all prompts begin with, in whole blocks and without anybody's last; 0 for few of them."""
        shortest = int(self.starts[: len(self.rows)].min(initial=self.tokens.shape[1])) - 1
        if not self.rows or shortest < _FEWEST_ALIKE:
            return 0
        tokens = self.tokens[: len(self.rows), :shortest]
        same = (tokens == tokens[0]).all(0)
        alike = shortest if same.all() else int(same.argmin())
        return alike // BLOCK * BLOCK if alike >= _FEWEST_ALIKE else 0

    def _longest(self) -> int:
        """Positions of the longest row, the next token's included."""
        return int(self.positions[: len(self.rows)].max(initial=-1)) + 1

    def _reserve(self, length: int) -> None:
        if length > self.tokens.shape[1]:
            grown = np.zeros((self.max_rows, max(length, 2 * self.tokens.shape[1])), dtype=np.int64)
            grown[:, : self.tokens.shape[1]] = self.tokens
            self.tokens = grown


def _groups(joining: list[Joining]) -> list[list[Joining]]:
    """Prompts sorted by what is left to compute, cut so that a pass holds little padding and not too many tokens."""
    groups: list[list[Joining]] = []
    real = 0
    for one in sorted(joining, key=lambda one: one.left):
        if groups:
            padded = one.left * (len(groups[-1]) + 1)
            if padded <= _PREFILL_TOKENS and padded <= 1.25 * (real + one.left) + 64:
                groups[-1].append(one)
                real += one.left
                continue
        groups.append([one])
        real = one.left
    return groups
