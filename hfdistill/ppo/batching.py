"""Which episode is trained on when, and by whom. Every process computes the same plan, so none is communicated."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from accelerate.utils import gather_object

from ..training.shares import cut_into_passes
from .config import PPOConfig


T = TypeVar("T")

# Second words of the keys that chance has; the order of the prompts has none.
EPISODES, MINI_BATCHES, VALIDATION, LABELS = 1, 2, 3, 4


class MiniBatch(NamedTuple):
    """What one optimizer step trains on: for each process its forward passes, and for each pass its episodes.

    All processes have as many passes: sharded models need every process in every pass, and one without episodes left
    gets empty ones.
    """

    passes: list[list[list[int]]]

    @property
    def episodes(self) -> list[int]:
        """All its episodes."""
        return [episode for share in self.passes for rows in share for episode in rows]


def update_rows(rows: int, seed: int, update: int, size: int) -> list[int]:
    """Which of the dataset's rows an update samples: `size` of an endless stream of seeded permutations.

    They depend on the update's number alone, so that a resumed run sees what the first one would have.
    """
    first, last = update * size, (update + 1) * size
    epochs = range(first // rows, -(-last // rows))
    order = np.concatenate([np.random.default_rng([seed, epoch]).permutation(rows) for epoch in epochs])
    offset = epochs[0] * rows
    return order[first - offset : last - offset].tolist()


def sampling_seeds(key: Sequence[int], size: int) -> list[int]:
    """So many sampling seeds, the same whichever process samples by them."""
    return (np.random.SeedSequence(list(key)).generate_state(size, np.uint64) >> np.uint64(1)).tolist()


def episode_seeds(seed: int, update: int, size: int) -> list[int]:
    """Sampling seed of each episode of an update."""
    return sampling_seeds((seed, EPISODES, update), size)


def share_prompts(drawn: Sequence[int], rank: int, processes: int) -> list[int]:
    """The numbers of the episodes of an update that a process samples, where `drawn` says of each which prompt it
    answers: those of every `processes`-th prompt. All responses to a prompt are one process's, since rewards may
    compare them.
    """
    prompts = {prompt: place for place, prompt in enumerate(dict.fromkeys(drawn))}
    return [number for number, prompt in enumerate(drawn) if prompts[prompt] % processes == rank]


def in_order(mine: list[T]) -> list[T]:
    """What the processes hold of the episodes of an update, in the order of their numbers, on every process."""
    return sorted(gather_object(mine), key=lambda episode: episode.number)


def mini_batches(episodes: int, number: int, seed: int, update: int, epoch: int) -> list[list[int]]:
    """Split the episodes of an update at random into mini-batches of nearly equal size."""
    order = np.random.default_rng([seed, MINI_BATCHES, update, epoch]).permutation(episodes)
    return [part.tolist() for part in np.array_split(order, number)]


def plan_epoch(config: PPOConfig, lengths: Sequence[int], processes: int, update: int, epoch: int) -> list[MiniBatch]:
    """The mini-batches of a PPO epoch over episodes of these lengths."""
    rows, tokens = config.per_device_train_batch_size, config.micro_batch_tokens
    batches = mini_batches(len(lengths), config.num_mini_batches, config.seed, update, epoch)
    return [deal(batch, lengths, processes, rows, tokens) for batch in batches]


def deal(
    episodes: Sequence[int], lengths: Sequence[int], processes: int, max_rows: int, max_tokens: int | None
) -> MiniBatch:
    """Deal the episodes of a mini-batch to the processes and cut each share into forward passes.

    Episodes are dealt longest first, each to the process with the fewest tokens so far. Within a process they are
    sorted by length, so that a pass holds little padding. A pass has at most `max_rows` episodes, and `max_tokens`
    tokens, padding included (a longer episode gets its own).
    """
    shares: list[list[int]] = [[] for _ in range(processes)]
    tokens = [0] * processes
    for episode in sorted(episodes, key=lambda i: (-lengths[i], i)):
        lightest = tokens.index(min(tokens))
        shares[lightest].append(episode)
        tokens[lightest] += lengths[episode]
    plan = [cut_into_passes(share, lengths, max_tokens, max_rows) for share in shares]
    most = max(len(passes) for passes in plan)
    return MiniBatch([passes + [[]] * (most - len(passes)) for passes in plan])
