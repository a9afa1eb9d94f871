"""The episodes of one update: what was sampled, what it earned, and what PPO makes of that."""

from dataclasses import dataclass, fields

import torch

from ..errors import HFDistillError
from .advantages import explained_variance, generalised_advantages, kl_estimate, masked_mean, token_rewards, whiten
from .config import PPOConfig
from .losses import importance_weights


@dataclass
class Episodes:
    """All episodes of an update, the same on every process.

    Attributes:
        update (`int`): number of the update.
        sequences (`list[list[int]]`): prompt and response ids, end-of-sequence included where it was sampled.
        prompt_lengths (`list[int]`): where each response starts.
        scores (`torch.Tensor`): float32 `(episodes,)`.
        sampling_log_probs (`torch.Tensor`, *optional*): what the sampler says that it drew each response token with,
            NaN where it says nothing, `(episodes, time)`; where it is not the training's own forward pass.
        log_probs, values, advantages, returns (`torch.Tensor`): float32 `(episodes, time)` over response tokens, made
            by the policy before the update; empty until [`~Episodes.estimate`].
    """

    update: int
    sequences: list[list[int]]
    prompt_lengths: list[int]
    scores: torch.Tensor
    sampling_log_probs: torch.Tensor | None = None
    log_probs: torch.Tensor | None = None
    values: torch.Tensor | None = None
    advantages: torch.Tensor | None = None
    returns: torch.Tensor | None = None

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

    def estimate(
        self, values: torch.Tensor, reference_log_probs: torch.Tensor | None, kl_coef: float, config: PPOConfig
    ) -> dict[str, float]:
        """Advantages and returns from scores, values and KL, whitened over all episodes.

        Args:
            values (`torch.Tensor`): `(episodes, time)`.
            reference_log_probs (`torch.Tensor`, *optional*): of the reference, `(episodes, time)`.
            kl_coef (`float`): weight of the KL in the reward; without effect where it is in the loss.
            config ([`~hfdistill.ppo.PPOConfig`]): the rest.

        Returns:
            `dict[str, float]`: figures of the rollout, by TRL's names.
        """
        mask = self.mask
        if not values[mask].isfinite().all() or not self.log_probs[mask].isfinite().all():
            raise HFDistillError(
                f"policy or value model returned NaN or infinity on the episodes of update {self.update}: the weights "
                "have diverged; lower learning_rate or value_learning_rate"
            )
        self.values = values * mask
        kl = torch.zeros_like(values)
        metrics = {}
        if reference_log_probs is not None:
            kl = kl_estimate(self.log_probs, reference_log_probs, config.kl_estimator) * mask
            metrics["objective/kl"] = kl.sum(1).mean().item()
        penalised = kl if config.kl_in == "reward" else torch.zeros_like(kl)
        rewards = token_rewards(self.scores, penalised, kl_coef, mask)
        non_score = -kl_coef * penalised.sum(1)
        if config.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)
        advantages, self.returns = generalised_advantages(rewards, self.values, mask, config.gamma, config.lam)
        self.advantages = whiten(advantages, mask)
        if self.sampling_log_probs is not None:
            metrics |= self._correct(config)
        metrics |= {
            "objective/entropy": -(self.log_probs * mask).sum(1).mean().item(),
            "objective/non_score_reward": non_score.mean().item(),
            "objective/rlhf_reward": (non_score + self.scores).mean().item(),
            "objective/scores": self.scores.mean().item(),
            "val/explained_variance": explained_variance(self.values, self.returns, mask).item(),
            "val/return_mean": masked_mean(self.returns, mask).item(),
            "val/value_mean": masked_mean(self.values, mask).item(),
        }
        return metrics

    def _correct(self, config: PPOConfig) -> dict[str, float]:
        """Weigh the advantages by what sampler and training differ in: Eq. 8's first term is linear in them."""
        mask = self.mask & self.sampling_log_probs.isfinite()
        weights = importance_weights(self.log_probs, self.sampling_log_probs, config.vllm_importance_sampling_clip_max)
        if config.vllm_importance_sampling_correction:
            self.advantages = self.advantages * weights.where(self.mask, 1.0)
        if not mask.any():
            return {}
        difference = (self.log_probs - self.sampling_log_probs)[mask].abs()
        return {
            "sampling/sampling_logp_difference/mean": difference.mean().item(),
            "sampling/sampling_logp_difference/max": difference.max().item(),
            "sampling/importance_sampling_ratio/min": weights[mask].min().item(),
            "sampling/importance_sampling_ratio/mean": weights[mask].mean().item(),
            "sampling/importance_sampling_ratio/max": weights[mask].max().item(),
        }

    def state_dict(self) -> dict[str, object]:
        """Everything, as plain lists and tensors."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
