"""The difference of two models on the same questions, against the textbook interval of paired shares."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.evaluation.paired import mcnemar, paired_difference, paired_over_seeds


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
    assert paired_difference(right, right) == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 100, "p": 1.0}
    other = [True] * 60 + [False] * 40
    assert paired_difference(right, other) == paired_difference(right, other)


def test_mcnemar_is_the_binomial_of_the_questions_that_one_alone_answers():
    # 9 gained, 1 lost: 2 · (1 + 10) / 2^10, as in textbooks.
    ours, theirs = [True] * 9 + [False] + [True] * 40, [False] * 9 + [True] + [True] * 40
    assert mcnemar(ours, theirs) == mcnemar(theirs, ours) == pytest.approx(22 / 1024)
    assert mcnemar(ours, ours) == 1.0
    assert mcnemar([True, False], [False, True]) == 1.0
    assert paired_difference(ours, theirs)["p"] == pytest.approx(22 / 1024)


def test_shares_of_samples_are_compared_like_answers():
    # 300 questions alike, 60 of which half of the samples were gained, 40 of which all were lost.
    ours, theirs = [0.75] * 300 + [1.0] * 60 + [0.0] * 40, [0.75] * 300 + [0.5] * 60 + [1.0] * 40
    made = paired_difference(ours, theirs)
    assert made["value"] == pytest.approx(-10 / 400)
    half = 1.96 * math.sqrt((60 * 0.25 + 40 - 10**2 / 400) / 400**2)
    assert (made["low"], made["high"]) == pytest.approx((-0.025 - half, -0.025 + half), abs=0.003)
    assert made["p"] == mcnemar([True] * 60 + [False] * 40, [False] * 60 + [True] * 40)
    over = paired_over_seeds([ours] * 4, [theirs] * 4)
    assert over["high"] - over["low"] == pytest.approx(half, rel=0.05)


def seed_of(gained: int, lost: int, alike: int) -> tuple[list[bool], list[bool]]:
    return [True] * gained + [False] * lost + [True] * alike, [False] * gained + [True] * lost + [True] * alike


def test_over_seeds_alike_the_interval_is_narrower_by_their_number():
    ours, theirs = zip(*[seed_of(60, 20, 320)] * 4, strict=True)
    one = paired_difference(ours[0], theirs[0])
    four = paired_over_seeds(ours, theirs)
    assert (four["value"], four["seeds"], four["n"]) == (pytest.approx(0.1), 4, 1600)
    assert four["high"] - four["low"] == pytest.approx((one["high"] - one["low"]) / 2, rel=0.05)
    alone = paired_over_seeds(ours[:1], theirs[:1])
    assert (alone["low"], alone["high"]) == pytest.approx((one["low"], one["high"]), abs=0.003)


def test_what_differs_between_seeds_widens_the_interval():
    unlike = [seed_of(80, 0, 320), seed_of(0, 0, 400), seed_of(80, 0, 320), seed_of(0, 0, 400)]
    made = paired_over_seeds(*zip(*unlike, strict=True))
    # Drawn seeds of 0.2 and 0: a mean of four has the standard error 0.05, without the questions' own.
    assert made["value"] == pytest.approx(0.1)
    assert made["low"] < 0.02
    assert made["high"] > 0.18


@given(
    st.lists(
        st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=25, deadline=None)
def test_the_value_turns_with_the_order_and_the_interval_is_within_bounds(seeds):
    ours = [[our for our, _ in seed] for seed in seeds]
    theirs = [[their for _, their in seed] for seed in seeds]
    made = paired_over_seeds(ours, theirs)
    assert -1 <= made["low"] <= made["high"] <= 1
    assert paired_over_seeds(theirs, ours)["value"] == pytest.approx(-made["value"])
    assert paired_over_seeds(ours, ours)["low"] == paired_over_seeds(ours, ours)["high"] == 0
