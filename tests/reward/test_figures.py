import itertools
import math

import numpy as np
import pytest

from hfdistill.reward.figures import area_under_curve, calibration, pair_accuracy, reward_figures, with_intervals


def test_pairs_and_ties():
    assert pair_accuracy(np.array([1.0, 2.0, 0.0, 5.0]), np.array([0.0, 2.0, 1.0, 4.0])) == (1 + 0.5 + 0 + 1) / 4
    assert math.isnan(pair_accuracy(np.array([]), np.array([])))


def test_area_under_curve_counts_pairs():
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 6, 40).astype(float), rng.integers(0, 5, 30).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(positive, negative)]
    assert area_under_curve(positive, negative) == pytest.approx(np.mean(pairs))


def test_calibration_bins():
    scores = np.array([-100.0, -1e-9, 1e-9, 100.0, 100.0])
    rows = calibration(scores, np.array([False, True, True, True, False]), bins=2)
    assert [row["n"] for row in rows] == [2, 3]
    assert rows[0]["observed"] == 0.5
    assert rows[1] == {"promised": pytest.approx((0.5 + 1 + 1) / 3), "observed": pytest.approx(2 / 3), "n": 3}


def test_figures_of_triples():
    # Columns: right student, wrong student, right teacher, wrong teacher.
    scores = np.array([[1.0, -1.0, 2.0, 9.0], [0.5, 0.7, 0.1, 9.0], [3.0, 0.0, 9.0, 9.0]])
    present = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]])
    figures = reward_figures(scores, present)
    assert (figures["pos_neg"], figures["pos_neg_n"]) == (pytest.approx(2 / 3), 3)
    assert (figures["pos_pos"], figures["pos_pos_n"]) == (0.5, 2)
    assert figures["accuracy"] == pytest.approx(7 / 8)  # only 0.7 is on the wrong side
    shown = with_intervals(figures)
    assert shown["pos_neg"]["value"] == pytest.approx(2 / 3)
    assert shown["pos_neg"]["low"] < 2 / 3 < shown["pos_neg"]["high"]
