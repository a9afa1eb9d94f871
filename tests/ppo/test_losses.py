import math

import numpy as np
import pytest
import torch

from hfdistill.ppo.losses import policy_loss, previous_policy_kl, probability_ratio, token_log_probs, value_loss


def test_policy_loss_by_hand():
    # Eq. 8 with eps 0.2: min(m A, clip(m) A) for m above, below and within the range, A of both signs.
    ratio = torch.tensor([[1.5, 0.5, 1.1, 1.5, 0.5]])
    advantages = torch.tensor([[2.0, 2.0, 2.0, -2.0, -2.0]])
    expected = [-2.4, -1.0, -2.2, 3.0, 1.6]
    assert policy_loss(ratio, advantages, 0.2)[0].tolist() == pytest.approx(expected)


def test_policy_loss_against_float64():
    rng = np.random.default_rng(0)
    ratio, advantages = np.exp(rng.normal(0, 0.4, (6, 7))), rng.normal(size=(6, 7))
    expected = -np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    loss = policy_loss(torch.tensor(ratio, dtype=torch.float32), torch.tensor(advantages, dtype=torch.float32), 0.2)
    np.testing.assert_allclose(loss.numpy(), expected, atol=1e-6)


def test_no_gradient_where_clipping_holds():
    log_probs = torch.tensor([[0.5, -0.5, 0.0]], requires_grad=True)
    ratio = probability_ratio(log_probs, torch.zeros(1, 3))
    policy_loss(ratio, torch.tensor([[1.0, -1.0, 1.0]]), 0.2).sum().backward()
    assert log_probs.grad[0].tolist() == pytest.approx([0.0, 0.0, -1.0])


def test_value_loss_by_hand():
    # old 1, range 0.2, return 2: value 1.1 is within, 1.5 is clipped to 1.2 (larger error), 0.5 to 0.8 (smaller).
    values = torch.tensor([[1.1, 1.5, 0.5]])
    loss, clipped = value_loss(values, torch.ones(1, 3), torch.full((1, 3), 2.0), 0.2)
    assert loss[0].tolist() == pytest.approx([0.5 * 0.81, 0.5 * 0.64, 0.5 * 2.25])
    assert clipped[0].tolist() == [False, True, False]


def test_log_probs_and_entropy_against_float64():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 11, generator=generator) * 4
    targets = torch.randint(11, (2, 3), generator=generator)
    log_probs, entropy = token_log_probs(logits, targets, 0.7, with_entropy=True)
    exact = torch.log_softmax(logits.double() / 0.7, -1)
    torch.testing.assert_close(log_probs.double(), exact.gather(-1, targets[..., None])[..., 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(entropy.double(), -(exact.exp() * exact).sum(-1), atol=1e-5, rtol=0)


def test_bf16_logits_are_normalised_in_float32():
    logits = torch.randn(1, 2, 50).bfloat16()
    log_probs, _ = token_log_probs(logits, torch.tensor([[1, 2]]), 1.0)
    assert log_probs.dtype == torch.float32


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_kl_to_the_previous_policy_is_exact_in_the_mean(estimator):
    new, old = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    exact = (new * (new / old).log()).sum().item()
    ratio = probability_ratio(new.log(), old.log())
    assert (old * previous_policy_kl(ratio, estimator)).sum().item() == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_its_gradient_is_that_of_the_exact_divergence(estimator):
    old = torch.log_softmax(torch.tensor([0.3, -0.2, 0.9]), 0)
    logits = torch.tensor([1.0, -1.0, 0.2], requires_grad=True)
    new = torch.log_softmax(logits, 0)
    (exact,) = torch.autograd.grad((new.exp() * (new - old)).sum(), logits, retain_graph=True)
    estimate = (old.exp() * previous_policy_kl(probability_ratio(new, old), estimator)).sum()
    (gradient,) = torch.autograd.grad(estimate, logits)
    torch.testing.assert_close(gradient, exact, atol=1e-6, rtol=0)


def test_far_apart_policies_stay_finite():
    ratio = probability_ratio(torch.tensor([0.0, -200.0]), torch.tensor([-200.0, 0.0]))
    assert ratio.tolist() == pytest.approx([math.exp(20), math.exp(-20)], rel=1e-5)
    assert previous_policy_kl(ratio, "k3").isfinite().all()
