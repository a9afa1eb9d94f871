import itertools
import math

import numpy as np
import pytest

from hfdistill.reward.figures import (
    area_under_curve,
    calibration,
    card_figures,
    fit_temperature,
    pair_accuracy,
    rank_correlation,
    response_figures,
    reward_figures,
    with_intervals,
)


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
    shown = with_intervals(scores, present, ["a", "a", "b"])
    assert shown["pos_neg"]["value"] == pytest.approx(2 / 3)
    assert shown["pos_neg"]["low"] < 2 / 3 < shown["pos_neg"]["high"]


def test_the_temperature_that_scores_were_multiplied_by_is_found():
    rng = np.random.default_rng(1)
    honest = rng.normal(size=20_000) * 2
    correct = rng.random(20_000) < 1 / (1 + np.exp(-honest))
    assert fit_temperature(honest * 3, correct) == pytest.approx(3, rel=0.05)
    assert fit_temperature(honest / 4, correct) == pytest.approx(1 / 4, rel=0.05)
    # What is never wrong would be as sure as can be, what is always wrong as unsure.
    assert fit_temperature(np.array([1.0, -1.0]), np.array([True, False])) == pytest.approx(0.1)
    assert fit_temperature(np.array([1.0, -1.0]), np.array([False, True])) == pytest.approx(10)
    assert fit_temperature(np.array([]), np.array([], bool)) == fit_temperature(np.zeros(2), np.ones(2, bool)) == 1


def test_what_the_card_says_of_an_ensemble():
    rng = np.random.default_rng(2)
    said = rng.normal(size=(50, 4, 3)) * 5 + np.array([1, -1, 1, 0])[:, None]
    present = np.repeat([[1.0, 1.0, 1.0, 0.0]], 50, 0)
    questions = [f"q{index // 2}" for index in range(50)]
    temperature, figures = card_figures(said, present, questions, calibrate=True)
    assert temperature == figures["temperature"] > 1
    assert figures["calibration_error"] < figures["calibration_error_before"]
    assert figures["spread_of_right"] == pytest.approx(said.std(-1)[:, [0, 2]].mean() / temperature)
    plain = card_figures(said[..., :1], present, questions, calibrate=False)
    assert plain[0] == 1 and plain[1].keys() == figures.keys() - {
        *("temperature", "calibration_error_before", "spread_of_right", "spread_of_wrong")
    }


def test_all_answers_of_questions():
    # Of a, one of two pairs is in order and the best is wrong; b has no wrong answer.
    scores, correct = np.array([1.0, 3.0, 0.0, -1.0]), np.array([True, False, False, True])
    figures = response_figures(scores, correct, np.array([4, 3, 2, 1]), ["a", "a", "a", "b"])
    assert (figures["responses"], figures["questions"]) == (4, 2)
    assert figures["pos_neg_of_all_pairs"]["value"] == figures["best"]["value"] == figures["one"] == 0.5
    assert figures["auc"] == pytest.approx(1 / 4)
    assert figures["length"] == pytest.approx(rank_correlation(scores, np.array([4, 3, 2, 1])))
    assert figures["length_of_right"] == pytest.approx(1)
    nothing = response_figures(np.array([]), np.array([], bool), np.array([]), [])
    assert nothing == {"responses": 0, "questions": 0}


def test_rank_correlation_shares_ranks():
    one, other = np.array([1.0, 2.0, 2.0, 9.0]), np.array([10, 20, 30, 40])
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    assert rank_correlation(one, other) == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1])
    assert math.isnan(rank_correlation(one, np.ones(4)))
