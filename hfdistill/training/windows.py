"""The order in which a training meets its samples: updates of a plain shuffle, similar lengths together."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback


class LengthSortedWindows(Sampler[int]):
    """A random order in which each window, the samples of one update, is sorted by length.

    Micro-batches of an update then hold samples of similar length and little padding, while the updates are those of a
    plain shuffle. The order depends on seed and epoch alone, so a resumed training meets the same batches.

    Args:
        lengths (`Sequence[int]`): of the samples.
        window (`int`): samples an update, over all processes.
        seed (`int`): of the shuffle.
        whole (`bool`, *optional*, defaults to `False`): fill an epoch's last window up with its first samples. Without
            it the last update is smaller, and processes that cannot share it fill it up each in its own way.
    """

    def __init__(self, lengths: Sequence[int], window: int, seed: int, whole: bool = False):
        self.lengths, self.window, self.seed, self.epoch = lengths, window, seed, 0
        self.missing = -len(lengths) % window if whole else 0

    def __len__(self) -> int:
        return len(self.lengths) + self.missing

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        order += list(islice(cycle(order), self.missing))
        for start in range(0, len(order), self.window):
            yield from sorted(order[start : start + self.window], key=self.lengths.__getitem__, reverse=True)


class TellEpoch(TrainerCallback):
    """Tell a sampler the epoch, also after a resume, where the data loader is wrapped too deep to be told."""

    def __init__(self, sampler: LengthSortedWindows):
        self.sampler = sampler

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.sampler.epoch = int(state.epoch)
