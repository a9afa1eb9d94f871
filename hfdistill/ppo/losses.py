"""The losses of PPO (Eq. 8), one value a token: the trainer takes the mean over the mini-batch of all processes.

Every tensor is `(batch, time)` over response tokens unless said otherwise.
"""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .config import PPOConfig
from .episodes import Targets


# exp() of a larger difference is of no use to learning and soon of no use to float32.
LARGEST_LOG_RATIO = 20.0
# Tokens whose entropy is computed at once.
ENTROPY_TOKENS = 512


def token_log_probs(
    logits: torch.Tensor, targets: torch.Tensor, temperature: float, with_entropy: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probabilities of tokens under the distribution that they are sampled from, in float32.

    Args:
        logits (`torch.Tensor`): `(…, vocabulary)`.
        targets (`torch.Tensor`): ids of the tokens, `(…)`.
        temperature (`float`): the sampling temperature, which divides the logits.
        with_entropy (`bool`, *optional*, defaults to `False`): also the entropy at each position, without gradient.

    Returns:
        `tuple[torch.Tensor, torch.Tensor or None]`: log-probabilities and entropy, both `(…)`.
    """
    logits = logits.float()
    if temperature != 1:
        logits = logits / temperature
    log_probs, log_normaliser = _TokenLogProbs.apply(logits, targets)
    if not with_entropy:
        return log_probs, None
    with torch.no_grad():
        # In parts: all at once would hold a second copy of the largest tensor there is.
        mean_logit = [(part.softmax(-1) * part).sum(-1) for part in logits.flatten(0, -2).split(ENTROPY_TOKENS)]
        return log_probs, log_normaliser - torch.cat(mean_logit).view_as(log_normaliser)


class _TokenLogProbs(Function):
    """Log-softmax at the targets, and the logarithm of the sum. The gradient is the one tensor of the logits' size
    that is made; derived by itself it would take four.
    """

    @staticmethod
    def forward(ctx, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_normaliser, places = logits.logsumexp(-1), targets.unsqueeze(-1)
        ctx.save_for_backward(logits, places, log_normaliser)
        ctx.mark_non_differentiable(log_normaliser)
        return logits.gather(-1, places).squeeze(-1) - log_normaliser, log_normaliser

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor, _) -> tuple[torch.Tensor, None]:
        logits, places, log_normaliser = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        grad_logits = (logits - log_normaliser.unsqueeze(-1)).exp_().mul_(-grad)
        return grad_logits.scatter_add_(-1, places, grad), None


def probability_ratio(log_probs: torch.Tensor, old_log_probs: torch.Tensor) -> torch.Tensor:
    """m_t(theta) of Eq. 8: probability under the policy over probability under the policy that sampled."""
    return torch.exp((log_probs - old_log_probs).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))


def policy_loss(ratio: torch.Tensor, advantages: torch.Tensor, cliprange: float) -> torch.Tensor:
    """Negative of Eq. 8's first term: `-min(m A, clip(m, 1 - eps, 1 + eps) A)`."""
    clipped = ratio.clamp(1 - cliprange, 1 + cliprange)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def importance_weights(log_probs: torch.Tensor, sampling_log_probs: torch.Tensor, largest: float) -> torch.Tensor:
    """Truncated importance sampling: a token's probability in training over that at sampling, at most `largest`.

    Where the sampler's log-probability is unknown (NaN), the weight is 1.
    """
    difference = (log_probs - sampling_log_probs).nan_to_num(nan=0.0)
    return difference.clamp(max=LARGEST_LOG_RATIO).exp().clamp(max=largest)


def previous_policy_kl(ratio: torch.Tensor, estimator: str) -> torch.Tensor:
    """Eq. 8's second term: estimate of KL(policy ‖ previous policy) from tokens of the previous policy.

    The tokens come from the previous policy, so that the expectation under the policy is `E_old[m log m]` (`k1`);
    `k3` subtracts `m - 1`, whose mean is 0, which makes it never negative and lowers its variance.
    """
    kl = ratio * torch.log(ratio)
    return kl - (ratio - 1) if estimator == "k3" else kl


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, cliprange: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half the squared error of the value, clipped around its old value where that makes it larger.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: the loss, and whether it was clipped.
    """
    clipped = old_values + (values - old_values).clamp(-cliprange, cliprange)
    error, clipped_error = (values - returns).pow(2), (clipped - returns).pow(2)
    return 0.5 * torch.maximum(error, clipped_error), clipped_error > error


def update_loss(
    log_probs: torch.Tensor | None, values: torch.Tensor, targets: Targets, weight: torch.Tensor, config: PPOConfig
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Eq. 8 with the value's loss, weighted and summed over the tokens of a forward pass.

    Args:
        log_probs (`torch.Tensor`, *optional*), values (`torch.Tensor`): what policy and value say now; without the
            first the loss is the value's alone.
        targets ([`~hfdistill.ppo.episodes.Targets`]): what they are compared with.
        weight (`torch.Tensor`): of each token in the mini-batch's mean, 0 beyond a response.
        config ([`~hfdistill.ppo.PPOConfig`]): options.

    Returns:
        `tuple[torch.Tensor, dict[str, torch.Tensor]]`: the loss, and figures by TRL's names.
    """
    value, clipped_value = value_loss(values, targets.values, targets.returns, config.cliprange_value)
    value = (value * weight).sum()
    loss = config.vf_coef * value
    figures = {"loss/value_avg": value, "val/clipfrac_avg": (clipped_value * weight).sum()}
    if log_probs is None:
        return loss, figures
    ratio = probability_ratio(log_probs, targets.log_probs)
    # Beyond a response the ratio may be anything, and 0 times infinity is NaN.
    ratio = ratio.masked_fill(~targets.mask, 1.0)
    policy = (policy_loss(ratio, targets.advantages, config.cliprange) * weight).sum()
    loss = loss + policy
    figures["loss/policy_avg"] = policy
    if config.kl_in == "loss":
        previous = (previous_policy_kl(ratio, config.kl_estimator) * weight).sum()
        loss = loss + config.kl_coef * previous
        figures["loss/kl_avg"] = previous
    with torch.no_grad():
        figures["policy/approxkl_avg"] = 0.5 * (ratio.log().pow(2) * weight).sum()
        figures["policy/clipfrac_avg"] = (((ratio - 1).abs() > config.cliprange) * weight).sum()
        figures["val/ratio"] = (ratio * weight).sum()
        figures["val/ratio_squared"] = (ratio.pow(2) * weight).sum()
    return loss, figures
