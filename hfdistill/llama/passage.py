"""What a pass is asked: rows of tokens, and the positions of them that are wanted."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch

from ..encoding import right_pad


# Rows attended to at once, times their longest: what a core's cache holds of their attention.
_PART_TOKENS = 1024


class Passage:
    """Rows of tokens, and the positions at which a model's hidden states or logits are wanted.

    Args:
        input_ids (`torch.Tensor`): `(batch, time)`, padded on the right: no causal position looks there, so attention
            needs no mask.
        positions (`torch.Tensor`): wanted ones of each row, `(batch, wanted)`.
        attention_mask (`torch.Tensor`, *optional*), position_ids (`torch.Tensor`, *optional*): for rows that several
            sequences share.
        next_ids (`torch.Tensor`, *optional*): the token behind each, `(batch, time)`, where logits are wanted.
        first (`int`, *optional*, defaults to 0): no row wants a position before this one.
    """

    def __init__(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        next_ids: torch.Tensor | None = None,
        first: int = 0,
    ):
        self.input_ids, self.positions = input_ids, positions
        self.attention_mask, self.position_ids = attention_mask, position_ids
        self.next_ids, self.first = next_ids, first

    @classmethod
    def of_responses(
        cls,
        sequences: Sequence[Sequence[int]],
        prompt_lengths: Sequence[int],
        pad_token_id: int,
        device: torch.device,
    ) -> "Passage":
        """Prompts with their responses; wanted is the position before each response token, `(batch, responses)`."""
        ids = right_pad(sequences, pad_token_id)[0].to(device)
        start = torch.tensor(prompt_lengths)[:, None] - 1
        last = torch.tensor([len(row) for row in sequences])[:, None] - 2
        # Behind a response's end, its last token again.
        positions = torch.minimum(start + torch.arange(int((last - start).max()) + 1), last)
        return cls(ids[:, :-1], positions.to(device), next_ids=ids[:, 1:], first=min(prompt_lengths) - 1)

    @cached_property
    def packed(self) -> "Packed":
        """The same without padding."""
        return Packed(self.input_ids, self.positions)

    @cached_property
    def _once(self) -> torch.Tensor:
        """Wanted positions that do not repeat the one before them, `(batch, wanted)`."""
        return torch.cat([torch.ones_like(self.positions[:, :1]), self.positions.diff(dim=1)], 1) != 0

    def once(self, values: torch.Tensor) -> torch.Tensor:
        """The values of wanted positions without repetitions, `(n, …)`, of those of all, `(batch, wanted, …)`."""
        return values[self._once]

    def in_rows(self, values: torch.Tensor) -> torch.Tensor:
        """Back from [`~Passage.once`]."""
        places = self._once.flatten().cumsum(0) - 1
        return values.index_select(0, places).unflatten(0, self.positions.shape)

    def at_positions(self, values: torch.Tensor) -> torch.Tensor:
        """The values of the wanted positions, `(batch, wanted, size)`, of those of all, `(batch, time, size)`."""
        return values.gather(1, self.positions.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


class Packed:
    """Rows end to end, the longest first. Of each, all tokens behind its last wanted position are left out, and all
    positions from its first wanted one on are answered. Made of a [`Passage`]'s ids and positions.

    Attributes:
        input_ids (`torch.Tensor`): of all rows, `(tokens,)`.
        positions (`torch.Tensor`): the position of each token in its row.
        answered (`torch.Tensor`): the tokens of the answered positions, `(answered,)`.
        attention (`list[AttentionPart]`): of all positions.
        last_attention (`list[AttentionPart]`): of the answered ones.
    """

    def __init__(self, input_ids: torch.Tensor, positions: torch.Tensor):
        lengths = positions.amax(1) + 1
        sorted_already = bool((lengths[1:] <= lengths[:-1]).all())
        self._order = torch.arange(len(lengths)) if sorted_already else lengths.argsort(descending=True)
        lengths, wanted = lengths[self._order], positions[self._order]
        first = wanted.amin(1)
        steps = torch.arange(input_ids.shape[1]).expand(input_ids.shape)
        real = steps < lengths[:, None]
        self._answered = real & (steps >= first[:, None])
        self.input_ids, self.positions = input_ids[self._order][real], steps[real]
        self.answered = self._answered[real].nonzero()[:, 0]
        answers = lengths - first
        places = (answers.cumsum(0) - answers - first)[:, None] + wanted
        self._places = torch.empty_like(places).index_copy_(0, self._order, places)
        self.attention, self.last_attention = [], []
        token = answer = 0
        for part in _parts(lengths.tolist()):
            keys, queries = Block(lengths[part], token), Block(answers[part], answer)
            self.attention.append(AttentionPart(keys, keys, torch.zeros(1, dtype=torch.long)))
            self.last_attention.append(AttentionPart(queries, keys, first[part]))
            token, answer = keys.stop, queries.stop

    def pack(self, values: torch.Tensor) -> torch.Tensor:
        """The values of the answered positions, `(answered,)`, of those of all, `(batch, time)`."""
        return values[self._order][self._answered]

    def in_rows(self, values: torch.Tensor) -> torch.Tensor:
        """The values of the wanted positions in rows, `(batch, wanted, …)`, of those of the answered ones."""
        return values.index_select(0, self._places.flatten()).unflatten(0, self._places.shape)


def _parts(lengths: list[int]) -> Iterator[slice]:
    """Cut rows into groups whose attention weights stay in the cache; each is padded to its own longest row."""
    start, longest = 0, lengths[0]
    for stop, length in enumerate(lengths):
        longest = max(longest, length)
        if (stop - start + 1) * longest > _PART_TOKENS and stop > start:
            yield slice(start, stop)
            start, longest = stop, length
    yield slice(start, len(lengths))


class Block:
    """Where the tokens of some neighbouring rows, `start` to `stop`, lie in a padded block `(rows, time)`."""

    def __init__(self, lengths: torch.Tensor, start: int):
        self.rows, self.time = len(lengths), int(lengths.max())
        steps = torch.arange(self.time)
        # Behind a row's end stands any token: what comes of it is not taken out again.
        tokens = (lengths.cumsum(0) - lengths)[:, None] + steps
        self.start, self.stop = start, start + int(lengths.sum())
        self.tokens = tokens.clamp_(max=self.stop - start - 1).flatten()
        self.places = (steps < lengths[:, None]).flatten().nonzero()[:, 0]

    def pad(self, values: torch.Tensor, heads: int) -> torch.Tensor:
        """`(all tokens, heads * size)` to `(rows * heads, time, size)`."""
        return self._by_heads(values[self.start : self.stop].index_select(0, self.tokens), heads)

    def pad_zeros(self, values: torch.Tensor, heads: int) -> torch.Tensor:
        """The same, with zeros behind the rows' ends."""
        padded = values.new_zeros(self.rows * self.time, values.shape[1])
        return self._by_heads(padded.index_copy_(0, self.places, values[self.start : self.stop]), heads)

    def _by_heads(self, padded: torch.Tensor, heads: int) -> torch.Tensor:
        return padded.view(self.rows, self.time, heads, -1).transpose(1, 2).flatten(0, 1)

    def unpad(self, padded: torch.Tensor, heads: int, out: torch.Tensor) -> None:
        """Back from `pad`, into the tokens' part of `out`."""
        by_tokens = padded.view(self.rows, heads, self.time, -1).transpose(1, 2).reshape(self.rows * self.time, -1)
        torch.index_select(by_tokens, 0, self.places, out=out[self.start : self.stop])


class AttentionPart:
    """Attention of some rows: which queries, which keys, and what is forbidden, `(rows or 1, 1, queries, keys)`."""

    def __init__(self, queries: Block, keys: Block, first: torch.Tensor):
        self.queries, self.keys = queries, keys
        seen = first[:, None] + torch.arange(queries.time)
        forbidden = (torch.arange(keys.time) > seen[:, :, None])[:, None]
        self.mask = torch.zeros(forbidden.shape).masked_fill_(forbidden, -torch.inf)
