import math

import pytest
import torch

from hfdistill.reward.losses import (
    classification_loss,
    every_token_loss,
    preference_loss,
    reward_loss,
    term_counts,
)


FULL = torch.tensor([[1.0, 1.0, 1.0, 0.0]])


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def reference(scores, present, weight) -> tuple[float, float, float]:
    """Eq. 4, 5 and 6 as loops in float64."""
    classified, above, right_above = [], [], []
    for (right, wrong, taught, taught_wrong), there in zip(scores, present, strict=True):
        for score, correct, is_there in zip((right, wrong, taught, taught_wrong), (1, 0, 1, 0), there, strict=True):
            if is_there:
                classified.append(-log_sigmoid(score) if correct else -log_sigmoid(-score))
        if there[0] and there[2]:
            above.append(-log_sigmoid(taught - right))
        if there[0] and there[1]:
            right_above.append(-log_sigmoid(right - wrong))
    classification = sum(classified) / max(len(classified), 1)
    preference = sum(above) / max(len(above), 1) + sum(right_above) / max(len(right_above), 1)
    return classification, preference, preference + weight * classification


def test_worked_example():
    # Scores 0 are the coin's: each logarithm is log 2, so L_cls = log 2, L_pref = 2 log 2, L = 2.5 log 2.
    scores = torch.zeros(1, 4, dtype=torch.float64)
    present = FULL.double()
    assert classification_loss(scores, present).item() == pytest.approx(math.log(2))
    assert preference_loss(scores, present).item() == pytest.approx(2 * math.log(2))
    assert reward_loss(scores, present, 0.5).item() == pytest.approx(2.5 * math.log(2))


def test_worked_example_with_numbers():
    # S+ = 1, S- = -1, T+ = 2: -log s(2 - 1) = 0.313262, -log s(1 + 1) = 0.126928,
    # and the mean of -log s(1), -log s(1), -log s(2) = (0.313262 * 2 + 0.126928) / 3 = 0.251151.
    scores = torch.tensor([[1.0, -1.0, 2.0, 0.0]], dtype=torch.float64)
    assert preference_loss(scores, FULL.double()).item() == pytest.approx(0.440190, abs=1e-6)
    assert classification_loss(scores, FULL.double()).item() == pytest.approx(0.251151, abs=1e-6)
    assert reward_loss(scores, FULL.double(), 0.5).item() == pytest.approx(0.565765, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_equals_loops(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(13, 4, generator=generator, dtype=torch.float64) * 4
    present = (torch.rand(13, 4, generator=generator) < 0.7).double()
    classification, preference, total = reference(scores.tolist(), present.tolist(), 0.3)
    assert classification_loss(scores, present).item() == pytest.approx(classification, rel=1e-12)
    assert preference_loss(scores, present).item() == pytest.approx(preference, rel=1e-12)
    assert reward_loss(scores, present, 0.3).item() == pytest.approx(total, rel=1e-12)


def test_micro_batches_add_up_to_the_batch():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    present = (torch.rand(12, 4, generator=generator) < 0.6).double()
    counts = term_counts(present)
    parts = [
        reward_loss(scores[part], present[part], 0.5, counts) for part in (slice(0, 2), slice(2, 9), slice(9, 12))
    ]
    assert sum(parts).item() == pytest.approx(reward_loss(scores, present, 0.5).item(), rel=1e-12)


def test_every_token_counts_as_its_share_of_a_response():
    """A right response of two tokens and a wrong one of one: -log s(1) and -log s(0) in the mean, and -log s(-3)."""
    scores, correct = torch.tensor([[1.0, 0.0], [3.0, 9.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    shares = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    expected = ((-log_sigmoid(1) - log_sigmoid(0)) / 2 - log_sigmoid(-3)) / 2
    assert every_token_loss(scores, correct, shares, torch.tensor(2.0)).item() == pytest.approx(expected)


def test_empty_terms_are_zero_and_large_scores_finite():
    nothing = torch.zeros(3, 4)
    assert reward_loss(torch.randn(3, 4), nothing, 0.5).item() == 0
    extreme = torch.tensor([[1e4, -1e4, -1e4, 0.0]])
    assert torch.isfinite(reward_loss(extreme, FULL, 0.5))


def test_an_empty_role_gets_no_gradient():
    scores = torch.zeros(1, 4, requires_grad=True)
    reward_loss(scores, FULL, 0.5).backward()
    right, wrong, taught, empty = scores.grad[0].tolist()
    assert empty == 0
    assert wrong > 0 > taught
    # The right student answer is pushed up by Eq. 4 and by its pair with the wrong one, down by its pair with T+.
    assert right == pytest.approx(0.5 - 0.5 - 0.5 * 0.5 / 3)
