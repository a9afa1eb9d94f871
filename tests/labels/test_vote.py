"""The vote of Section 3.1 against an independent reference and worked examples."""

import random
from fractions import Fraction

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.labels.vote import response_label, vote
from hfdistill.tasks import same_number


THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def reference(answers: list[str | None], threshold: str) -> tuple[str | None, int, int]:
    """The vote as the paper says it, written without looking at the other: sort, count runs, compare rationals."""
    named = sorted(answer for answer in answers if answer is not None)
    runs: list[list] = []
    for answer in named:
        if runs and runs[-1][0] == answer:
            runs[-1][1] += 1
        else:
            runs.append([answer, 1])
    runs.sort(key=lambda run: run[1], reverse=True)
    if not runs:
        return None, 0, len(answers)
    best = runs[0]
    if len(runs) > 1 and runs[1][1] == best[1]:
        return None, best[1], len(answers)
    enough = Fraction(best[1], len(answers)) > Fraction(threshold)
    return (best[0] if enough else None), best[1], len(answers)


def test_a_hundred_thousand_random_votes():
    draw = random.Random(20261124)
    for number in range(100_000):
        voters = 1 + number % 40
        kinds = draw.randint(1, 4)
        weights = [draw.random() ** 3 for _ in range(kinds + 1)]
        answers = draw.choices([None, *(str(kind) for kind in range(kinds))], weights, k=voters)
        threshold = THRESHOLDS[draw.randrange(6)]
        won = vote(answers, threshold)
        label, votes, counted = reference(answers, str(threshold))
        assert (won.label, won.votes, won.voters) == (label, votes, counted), (answers, threshold)
        assert won.share == votes / voters


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("voters", range(1, 41))
def test_every_count_of_every_number_of_voters(voters, threshold):
    for votes in range(voters + 1):
        answers = ["1"] * votes + [None] * (voters - votes)
        expected = "1" if Fraction(votes, voters) > Fraction(str(threshold)) else None
        assert vote(answers, threshold).label == expected


def test_fifteen_of_twenty_win_and_fourteen_do_not():
    assert vote(["72"] * 14 + ["71"] * 6, 0.7).label is None
    won = vote(["72"] * 15 + ["71"] * 5, 0.7)
    assert (won.label, won.share, won.votes, won.voters) == ("72", 0.75, 15, 20)


def test_those_without_an_answer_count_and_never_win():
    assert vote(["1"] * 14 + [None] * 6, 0.7).label is None
    assert vote([None] * 20, 0.7) == vote([None] * 20, 0.1)
    assert vote([None] * 19 + ["1"], 0.7).label is None
    assert vote([], 0.7).voters == 0


def test_a_tie_gives_no_label():
    assert vote(["1", "2"], 0.4).label is None
    assert vote(["1", "2", "3"], 0.3).label is None
    assert vote(["1", "1", "2"], 0.4).label == "1"


def test_a_threshold_of_one_labels_nothing():
    assert vote(["1"] * 20, 1.0).label is None
    assert vote(["1"] * 20, 0.99).label == "1"


def test_equal_answers_in_other_forms_are_one_voice():
    won = vote(["1/2", "0.5", "1/2", "3"], 0.7, same_number)
    assert (won.label, won.votes) == ("1/2", 3)
    assert vote(["1/2", "0.5", "1/2", "3"], 0.7).label is None
    assert vote({"0.5": 2, "1/2": 1, None: 1}, 0.7, same_number).label == "0.5"


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan"), float("inf"), True, "0.7", None])
def test_what_is_no_share(threshold):
    with pytest.raises(HFDistillError, match="above 0 and at most 1"):
        vote(["1"], threshold)


def test_labels_of_responses():
    assert response_label("1", "1") == "correct"
    assert response_label("0.5", "1/2", same_number) == "correct"
    assert response_label("0.5", "1/2") == "incorrect"
    assert response_label(None, "1") == "incorrect"
    assert response_label("1", None) is None
    assert response_label(None, None) is None
