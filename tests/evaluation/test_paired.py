"""The difference of two models on the same questions, against the textbook interval of paired shares."""

import math

import pytest

from hfdistill.evaluation.paired import paired_difference


def test_the_interval_is_that_of_the_normal_approximation_where_there_are_many():
    # 600 questions alike, 150 gained, 50 lost: the standard error of McNemar's difference.
    ours = [True] * 400 + [False] * 200 + [True] * 150 + [False] * 50
    theirs = [True] * 400 + [False] * 200 + [False] * 150 + [True] * 50
    made = paired_difference(ours, theirs)
    assert (made["value"], made["n"]) == (0.125, 800)
    half = 1.96 * math.sqrt((200 - 100**2 / 800) / 800**2)
    assert (made["low"], made["high"]) == pytest.approx((0.125 - half, 0.125 + half), abs=0.002)
    assert paired_difference(theirs, ours)["value"] == -0.125


def test_hard_questions_cancel_out_and_the_same_answers_make_the_same_interval():
    right = [True, False] * 50
    assert paired_difference(right, right) == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 100}
    other = [True] * 60 + [False] * 40
    assert paired_difference(right, other) == paired_difference(right, other)
