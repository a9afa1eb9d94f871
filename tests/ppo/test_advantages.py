import math

import numpy as np
import pytest
import torch

from hfdistill.ppo.advantages import (
    AdaptiveKL,
    explained_variance,
    generalised_advantages,
    kl_estimate,
    masked_mean,
    masked_var,
    token_rewards,
    whiten,
)


def ragged(seed, batch=5, time=9):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, time + 1, (batch,), generator=generator)
    lengths[0] = time
    mask = torch.arange(time) < lengths[:, None]
    return generator, lengths.tolist(), mask


def test_gae_by_hand():
    # gamma 0.5, lam 0.5; V = (1, 2, 3), r = (0, 0, 4):
    # delta_2 = 4 - 3 = 1; delta_1 = 0.5*3 - 2 = -0.5; delta_0 = 0.5*2 - 1 = 0
    # A_2 = 1; A_1 = -0.5 + 0.25*1 = -0.25; A_0 = 0 + 0.25*-0.25 = -0.0625
    advantages, returns = generalised_advantages(
        torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3, dtype=torch.bool), 0.5, 0.5
    )
    assert advantages.tolist() == [[-0.0625, -0.25, 1.0]]
    assert returns.tolist() == [[0.9375, 1.75, 4.0]]


@pytest.mark.parametrize("gamma,lam", [(1.0, 0.95), (0.9, 0.0), (1.0, 1.0)])
def test_gae_is_the_sum_of_discounted_deltas(gamma, lam):
    generator, lengths, mask = ragged(0)
    rewards, values = torch.randn(2, *mask.shape, generator=generator)
    advantages, returns = generalised_advantages(rewards, values, mask, gamma, lam)
    for row, length in enumerate(lengths):
        r, v = rewards[row].double().numpy(), np.append(values[row, :length].double().numpy(), 0.0)
        for t in range(mask.shape[1]):
            expected = sum((gamma * lam) ** (s - t) * (r[s] + gamma * v[s + 1] - v[s]) for s in range(t, length))
            assert advantages[row, t].item() == pytest.approx(expected, abs=1e-5)
            assert returns[row, t].item() == pytest.approx(expected + v[t] if t < length else 0.0, abs=1e-5)


def test_masked_statistics_against_loops():
    generator, lengths, mask = ragged(1)
    values = torch.randn(mask.shape, generator=generator)
    real = np.concatenate([values[row, :length].double().numpy() for row, length in enumerate(lengths)])
    assert masked_mean(values, mask).item() == pytest.approx(real.mean(), abs=1e-6)
    assert masked_var(values, mask).item() == pytest.approx(real.var(ddof=1), abs=1e-6)
    white = whiten(values, mask)
    assert masked_mean(white, mask).item() == pytest.approx(0, abs=1e-6)
    assert masked_var(white, mask).item() == pytest.approx(1, abs=1e-5)
    assert (white[~mask] == 0).all()
    assert masked_mean(whiten(values, mask, shift_mean=False), mask).item() == pytest.approx(real.mean(), abs=1e-6)


def test_padding_does_not_change_anything():
    generator, _, mask = ragged(2)
    rewards, values = torch.randn(2, *mask.shape, generator=generator)
    pad = torch.nn.functional.pad
    wide = generalised_advantages(
        pad(rewards, (0, 4), value=7), pad(values, (0, 4), value=9), pad(mask, (0, 4)), 1, 0.95
    )
    narrow = generalised_advantages(rewards, values, mask, 1, 0.95)
    for a, b in zip(wide, narrow, strict=True):
        assert torch.equal(a[:, :-4], b)


def test_a_single_token_has_no_variance():
    assert whiten(torch.tensor([[3.0]]), torch.tensor([[True]])).isfinite().all()


def test_kl_estimators():
    policy, reference = torch.tensor([[math.log(0.5)]]), torch.tensor([[math.log(0.25)]])
    assert kl_estimate(policy, reference, "k1").item() == pytest.approx(math.log(2))
    assert kl_estimate(policy, reference, "k3").item() == pytest.approx(0.5 - 1 + math.log(2))
    assert kl_estimate(policy, policy, "k1").item() == kl_estimate(policy, policy, "k3").item() == 0
    assert kl_estimate(torch.tensor([0.0]), torch.tensor([-50.0]), "k1").item() == 10


def test_both_estimators_have_the_exact_mean():
    p, q = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    exact = (p * (p / q).log()).sum().item()
    for estimator in ("k1", "k3"):
        assert (p * kl_estimate(p.log(), q.log(), estimator)).sum().item() == pytest.approx(exact, abs=1e-6)


def test_score_lands_on_the_last_real_token():
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]]).bool()
    kl = torch.full((2, 4), 0.5)
    rewards = token_rewards(torch.tensor([2.0, -5.0]), kl, 0.2, mask)
    assert rewards[0].tolist() == pytest.approx([-0.1, -0.1, 1.9, 0.0])
    assert rewards[1].tolist() == pytest.approx([-5.1, 0.0, 0.0, 0.0])


def test_without_kl_the_rewards_sum_to_the_score():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    rewards = token_rewards(torch.tensor([2.0, 3.0]), torch.zeros(2, 3), 0.2, mask)
    assert rewards.sum(1).tolist() == [2.0, 3.0]


def test_explained_variance():
    mask = torch.ones(1, 4, dtype=torch.bool)
    returns = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert explained_variance(returns, returns, mask).item() == pytest.approx(1)
    assert explained_variance(torch.full((1, 4), 9.0), returns, mask).item() == pytest.approx(0, abs=1e-6)


def test_adaptive_kl():
    fixed = AdaptiveKL(0.2)
    fixed.update(100.0, 256)
    assert fixed.coefficient == 0.2
    adaptive = AdaptiveKL(0.2, target=6.0, horizon=1000)
    adaptive.update(6.6, 100)  # 10 % above the target
    assert adaptive.coefficient == pytest.approx(0.2 * 1.01)
    adaptive.update(0.0, 100)  # the error is limited to 20 %
    assert adaptive.coefficient == pytest.approx(0.2 * 1.01 * 0.98)
