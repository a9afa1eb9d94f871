"""Beginnings that prompts have in common, as worked examples are: computed for one prompt, and kept for the others."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch


BLOCK = 16  # tokens; attention in the passes of hfdistill/llama/decoding.py takes as many at a time
# What is shorter costs more to copy than to compute.
_FEWEST_BLOCKS = 2
_MOST_COUNTED = 65_536

KeysAndValues = list[torch.Tensor]


@dataclass(frozen=True, eq=False)
class KeptBlock:
    """Some tokens of a prompt behind all those before them, with their keys and values.

    Attributes:
        before (`KeptBlock` or `None`): the tokens in front.
        tokens (`tuple[int, ...]`): `BLOCK` of them.
        states (`list[torch.Tensor]`): as the model's passes read them.
    """

    before: "KeptBlock | None"
    tokens: tuple[int, ...]
    states: KeysAndValues

    @property
    def size(self) -> int:
        """Bytes of keys and values."""
        return sum(states.nbytes for states in self.states)


@dataclass(eq=False)
class Joining:
    """A prompt that is about to be computed.

    Attributes:
        prompt (`tuple[int, ...]`): its tokens.
        names (`list[int]`): of each whole block before its last token, a hash of it and of all before it.
        shared (`int`): how many of them another prompt began with, too.
        held (`list[KeptBlock]`): those that are there already.
    """

    prompt: tuple[int, ...]
    names: list[int] = field(default_factory=list)
    shared: int = 0
    held: list[KeptBlock] = field(default_factory=list)

    @property
    def past(self) -> int:
        """Tokens that are there already."""
        return BLOCK * len(self.held)

    @property
    def left(self) -> int:
        """Tokens that are to be computed, and the last one, which goes through a step of its own."""
        return len(self.prompt) - self.past


class Prefixes:
    """Keys and values of blocks that two prompts began with, the one used longest ago forgotten first.

    Args:
        most_bytes (`int`): that they may take; 0 keeps nothing.
    """

    def __init__(self, most_bytes: int):
        self.most_bytes = most_bytes
        self.bytes = 0
        self.tokens_saved = 0
        self._blocks: OrderedDict[int, KeptBlock] = OrderedDict()
        self._counts: OrderedDict[int, int] = OrderedDict()

    def waves(self, prompts: Sequence[tuple[int, ...]]) -> Iterator[list[Joining]]:
        """The prompts, each with what is there of it: first those that compute for others what they share, and, once
        that was kept, the rest.
        """
        joining = [Joining(prompt) for prompt in prompts]
        if self.most_bytes:
            for one in joining:
                self._count(one)
        for one in joining:
            one.shared = self._shared(one.names)
            one.held = self._held(one)
        leading, following, claimed = [], [], set()
        for one in joining:
            missing = one.names[len(one.held) : one.shared]
            if len(claimed.intersection(missing)) >= _FEWEST_BLOCKS:
                following.append(one)
            else:
                claimed.update(missing)
                leading.append(one)
        yield leading
        for one in following:
            one.held = self._held(one)
        if following:
            yield following

    def keep(self, joined: Joining, read: Callable[[int, int], KeysAndValues]) -> None:
        """Keep what a prompt shares with others, now that it is computed.

        Args:
            joined ([`Joining`]): the prompt.
            read (`Callable`): gives copies of its keys and values from one position to another.
        """
        self.tokens_saved += joined.past
        if joined.shared - len(joined.held) < _FEWEST_BLOCKS:
            return
        before = joined.held[-1] if joined.held else None
        for index in range(len(joined.held), joined.shared):
            start, name = index * BLOCK, joined.names[index]
            if name not in self._blocks:
                tokens = joined.prompt[start : start + BLOCK]
                self._blocks[name] = KeptBlock(before, tokens, read(start, start + BLOCK))
                self.bytes += self._blocks[name].size
            before = self._blocks[name]
        self._touch(joined.names[: joined.shared])
        while self.bytes > self.most_bytes:
            self.bytes -= self._blocks.popitem(last=False)[1].size

    def _count(self, joining: Joining) -> None:
        name, prompt = 0, joining.prompt
        for start in range(0, (len(prompt) - 1) // BLOCK * BLOCK, BLOCK):
            name = hash((name, prompt[start : start + BLOCK]))
            joining.names.append(name)
            self._counts[name] = self._counts.pop(name, 0) + 1
        while len(self._counts) > _MOST_COUNTED:
            self._counts.popitem(last=False)

    def _shared(self, names: list[int]) -> int:
        return next((index for index, name in enumerate(names) if self._counts.get(name, 0) < 2), len(names))

    def _held(self, joining: Joining) -> list[KeptBlock]:
        held: list[KeptBlock] = []
        for index, name in enumerate(joining.names):
            block = self._blocks.get(name)
            # Two beginnings may have one hash, so what is there is compared as well.
            if (
                block is None
                or block.before is not (held[-1] if held else None)
                or block.tokens != joining.prompt[index * BLOCK : (index + 1) * BLOCK]
            ):
                break
            held.append(block)
        self._touch(joining.names[: len(held)])
        return held

    def _touch(self, names: list[int]) -> None:
        # The last block first: without those before it a block is of no use.
        for name in reversed(names):
            if name in self._blocks:
                self._blocks.move_to_end(name)
