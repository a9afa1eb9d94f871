"""From scores to advantages: KL estimates, per-token rewards, generalised advantage estimation, whitening.

Every tensor is `(batch, time)` over response tokens, time padded at the end; `mask` is true on real tokens. Another
estimator of the advantage takes its place in [`make_episodes`].
"""

import torch

from ..errors import HFDistillError
from .config import PPOConfig
from .episodes import BeforeUpdate, Episodes, Sampled
from .losses import importance_weights


# A token that the reference holds for impossible must not decide the whole batch.
LARGEST_TOKEN_KL = 10.0


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over real tokens."""
    return (values * mask).sum() / mask.sum()


def masked_var(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Unbiased variance over real tokens; 0 for a single one."""
    centred = (values - masked_mean(values, mask)) * mask
    return centred.pow(2).sum() / (mask.sum() - 1).clamp(min=1)


def whiten(values: torch.Tensor, mask: torch.Tensor, shift_mean: bool = True) -> torch.Tensor:
    """Scale to unit variance over all real tokens, and to mean 0 unless `shift_mean` is off. Padding becomes 0."""
    mean = masked_mean(values, mask)
    scaled = (values - mean) * torch.rsqrt(masked_var(values, mask) + 1e-8)
    return (scaled if shift_mean else scaled + mean) * mask


def kl_estimate(log_probs: torch.Tensor, reference_log_probs: torch.Tensor, estimator: str) -> torch.Tensor:
    """Per-token estimate of KL(policy ‖ reference) from tokens that the policy sampled.

    With `d = log policy - log reference`: `k1` is `d`, unbiased, of either sign; `k3` is `exp(-d) - 1 + d`, unbiased
    too, never negative and of lower variance. See http://joschu.net/blog/kl-approx.html.

    Args:
        log_probs (`torch.Tensor`): log-probabilities of the policy, `(batch, time)`.
        reference_log_probs (`torch.Tensor`): of the reference, `(batch, time)`.
        estimator (`str`): `"k1"` or `"k3"`.
    """
    difference = log_probs - reference_log_probs
    if estimator == "k3":
        difference = torch.exp(-difference) - 1 + difference
    return difference.clamp(-LARGEST_TOKEN_KL, LARGEST_TOKEN_KL)


def token_rewards(scores: torch.Tensor, kl: torch.Tensor, kl_coef: float, mask: torch.Tensor) -> torch.Tensor:
    """Reward of each token: the KL penalty everywhere, and the episode's score on its last real token.

    Args:
        scores (`torch.Tensor`): one score an episode, `(batch,)`.
        kl (`torch.Tensor`): per-token KL estimate, `(batch, time)`.
        kl_coef (`float`): weight of the penalty.
        mask (`torch.Tensor`): real tokens, `(batch, time)`.
    """
    rewards = -kl_coef * kl * mask
    last = mask.sum(1).long() - 1
    rewards[torch.arange(len(scores), device=scores.device), last] += scores
    return rewards


def generalised_advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation (https://arxiv.org/abs/1506.02438, Eq. 16).

    `delta_t = r_t + gamma * V_{t+1} - V_t` and `A_t = delta_t + gamma * lam * A_{t+1}`; after the last token both the
    value and the advantage are 0.

    Args:
        rewards (`torch.Tensor`): reward of each token, `(batch, time)`.
        values (`torch.Tensor`): value before each token is chosen, `(batch, time)`.
        mask (`torch.Tensor`): real tokens, `(batch, time)`.
        gamma (`float`): discount.
        lam (`float`): decay of longer estimates.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: advantages and returns (advantages + values), 0 on padding.
    """
    rewards, values = rewards * mask, values * mask
    advantages = torch.zeros_like(rewards)
    following_advantage = torch.zeros_like(rewards[:, 0])
    following_value = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        following_advantage = (delta + gamma * lam * following_advantage) * mask[:, t]
        following_value = values[:, t]
        advantages[:, t] = following_advantage
    return advantages, advantages + values


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Share of the returns' variance that the values predict: 1 is perfect, 0 no better than a constant."""
    return 1 - masked_var(returns - values, mask) / (masked_var(returns, mask) + 1e-8)


def make_episodes(
    sampled: Sampled, before: BeforeUpdate, kl_coef: float, config: PPOConfig
) -> tuple[Episodes, dict[str, float]]:
    """Advantages and returns from scores, values and KL, whitened over all episodes: what PPO trains on, and figures
    of the rollout, by TRL's names. `kl_coef` is without effect where the KL is in the loss.
    """
    mask, log_probs, figures = sampled.mask, before.log_probs, {}
    if not before.values[mask].isfinite().all() or not log_probs[mask].isfinite().all():
        raise HFDistillError(
            f"policy or value model returned NaN or infinity on the episodes of update {sampled.update}: the weights "
            "have diverged; lower learning_rate or value_learning_rate"
        )
    values = before.values * mask
    # 1. KL to the reference.
    kl = torch.zeros_like(values)
    if before.reference_log_probs is not None:
        kl = kl_estimate(log_probs, before.reference_log_probs, config.kl_estimator) * mask
        figures["objective/kl"] = kl.sum(1).mean().item()
    penalised = kl if config.kl_in == "reward" else torch.zeros_like(kl)
    # 2. Reward of each token: the KL everywhere, the score at the end, or where a dense reward gave it.
    if sampled.token_scores is None:
        rewards = token_rewards(sampled.scores, penalised, kl_coef, mask)
    else:
        at_the_end = sampled.scores - sampled.token_scores.sum(1)
        rewards = token_rewards(at_the_end, penalised, kl_coef, mask) + sampled.token_scores
    if config.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    # 3. Advantages and returns.
    advantages, returns = generalised_advantages(rewards, values, mask, config.gamma, config.lam)
    advantages = whiten(advantages, mask)
    # 4. What sampler and training differ in: Eq. 8's first term is linear in the advantages.
    if sampled.sampling_log_probs is not None:
        weights = importance_weights(log_probs, sampled.sampling_log_probs, config.vllm_importance_sampling_clip_max)
        if config.vllm_importance_sampling_correction:
            advantages = advantages * weights.where(mask, 1.0)
        figures |= _sampling_figures(sampled, log_probs, weights)
    non_score = -kl_coef * penalised.sum(1)
    figures |= {
        "objective/entropy": -(log_probs * mask).sum(1).mean().item(),
        "objective/non_score_reward": non_score.mean().item(),
        "objective/rlhf_reward": (non_score + sampled.scores).mean().item(),
        "objective/scores": sampled.scores.mean().item(),
        "policy/entropy_avg": ((before.entropy * mask).sum() / mask.sum()).item(),
        "val/explained_variance": explained_variance(values, returns, mask).item(),
        "val/return_mean": masked_mean(returns, mask).item(),
        "val/value_mean": masked_mean(values, mask).item(),
    }
    episodes = Episodes(**vars(sampled), log_probs=log_probs, values=values, advantages=advantages, returns=returns)
    return episodes, figures


def _sampling_figures(sampled: Sampled, log_probs: torch.Tensor, weights: torch.Tensor) -> dict[str, float]:
    """How far the sampler is from the training, by TRL's names; nothing where it did not say."""
    said = sampled.mask & sampled.sampling_log_probs.isfinite()
    if not said.any():
        return {}
    difference = (log_probs - sampled.sampling_log_probs)[said].abs()
    return {
        "sampling/sampling_logp_difference/mean": difference.mean().item(),
        "sampling/sampling_logp_difference/max": difference.max().item(),
        "sampling/importance_sampling_ratio/min": weights[said].min().item(),
        "sampling/importance_sampling_ratio/mean": weights[said].mean().item(),
        "sampling/importance_sampling_ratio/max": weights[said].max().item(),
    }


class AdaptiveKL:
    """KL coefficient that follows a target (https://arxiv.org/abs/1909.08593, Sec. 2.2), or a fixed one.

    Args:
        coefficient (`float`): its first value.
        target (`float`, *optional*): wanted KL an episode; `None` keeps the coefficient fixed.
        horizon (`int`, *optional*, defaults to 10000): episodes over which an error of 20 % changes it about
            1.2-fold.
    """

    def __init__(self, coefficient: float, target: float | None = None, horizon: int = 10000):
        self.coefficient = coefficient
        self.target = target
        self.horizon = horizon

    def update(self, kl: float, episodes: int) -> None:
        """Move the coefficient after `episodes` episodes whose mean KL was `kl`."""
        if self.target is not None:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.coefficient *= 1 + error * episodes / self.horizon
