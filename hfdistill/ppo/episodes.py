"""The episodes of one update, in the order in which they come to be: sampled and scored, read, made into targets."""

from dataclasses import dataclass
from typing import NamedTuple

import torch


@dataclass
class Sampled:
    """What was sampled in an update and what it earned, the same on every process.

    Attributes:
        update (`int`): number of the update.
        sequences (`list[list[int]]`): prompt and response ids, end token included where it was sampled.
        prompt_lengths (`list[int]`): where each response starts.
        scores (`torch.Tensor`): float32 `(episodes,)`.
        token_scores (`torch.Tensor`, *optional*): what of its score an episode has earned by each token,
            `(episodes, time)`, where some reward is dense; the rest is earned at the end.
        sampling_log_probs (`torch.Tensor`, *optional*): what the sampler says that it drew each response token with,
            NaN where it says nothing, `(episodes, time)`; where it is not the training's own forward pass.
    """

    update: int
    sequences: list[list[int]]
    prompt_lengths: list[int]
    scores: torch.Tensor
    token_scores: torch.Tensor | None
    sampling_log_probs: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each episode, prompt included."""
        return [len(ids) for ids in self.sequences]

    @property
    def response_lengths(self) -> list[int]:
        """Response tokens of each episode."""
        return [len(ids) - prompt for ids, prompt in zip(self.sequences, self.prompt_lengths, strict=True)]

    @property
    def mask(self) -> torch.Tensor:
        """Real response tokens, `(episodes, time)`."""
        lengths = torch.tensor(self.response_lengths)
        return torch.arange(int(lengths.max())) < lengths[:, None]

    def by_token(self, values: list[list[float]], padding: float) -> torch.Tensor:
        """A number for each response token as `(episodes, time)`."""
        mask = self.mask
        laid_out = torch.full(mask.shape, padding)
        laid_out[mask] = torch.tensor([value for row in values for value in row])
        return laid_out


class BeforeUpdate(NamedTuple):
    """What the models say about episodes before the update: float32 `(episodes, time)` over response tokens."""

    log_probs: torch.Tensor
    values: torch.Tensor
    entropy: torch.Tensor
    reference_log_probs: torch.Tensor | None


class Targets(NamedTuple):
    """What a forward pass over some episodes is compared with, `(rows, time)` over response tokens."""

    mask: torch.Tensor
    log_probs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


@dataclass
class Episodes(Sampled):
    """What PPO trains on.

    Attributes:
        log_probs, values (`torch.Tensor`): of the policy before the update, float32 `(episodes, time)`.
        advantages, returns (`torch.Tensor`): made of scores, values and KL, `(episodes, time)`; see
            [`~hfdistill.ppo.advantages.make_episodes`].
    """

    log_probs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor

    def targets(self, rows: list[int], time: int, device: torch.device) -> Targets:
        """What the first `time` response tokens of these episodes are compared with."""
        tensors = (self.mask, self.log_probs, self.values, self.advantages, self.returns)
        return Targets(*(tensor[rows, :time].to(device) for tensor in tensors))
