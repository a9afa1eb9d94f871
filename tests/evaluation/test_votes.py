"""Majority, best of n and the weighted vote on samples written by hand, and bounds that hold for any."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.evaluation.config import EvaluateConfig
from hfdistill.evaluation.votes import outcome, vote_figures
from hfdistill.tasks import same_number


def rows(question: str, gold: str, *said: tuple[str | None, float | None]) -> list[dict]:
    return [
        {"question_id": question, "sample": number, "answer": answer, "score": score, "correct": answer == gold}
        for number, (answer, score) in enumerate(said)
    ]


def test_each_way_on_four_samples():
    said = ("7", -2.0), ("7", -2.0), ("5", 1.0), ("6", 2.0)
    assert outcome(rows("q", "7", *said), same_number) == {
        "one": 2,
        "majority": True,
        "best": False,
        "weighted": False,  # sigmoid(2) = 0.88 > 2 · 0.12
        "any": True,
    }
    made = outcome(rows("q", "5", *said), same_number)
    assert (made["one"], made["majority"], made["best"], made["weighted"], made["any"]) == (
        1,
        False,
        False,
        False,
        True,
    )


def test_a_tie_goes_to_the_first_sampled_and_no_answer_votes_for_nothing():
    assert outcome(rows("q", "7", (None, 9.0), ("7", 0.0), ("5", 0.0)), same_number)["majority"]
    assert outcome(rows("q", "7", (None, 9.0), ("7", 0.0)), same_number)["best"]
    nothing = outcome(rows("q", "7", (None, 0.0), (None, 0.0)), same_number)
    assert not any(nothing.values())


def test_equal_answers_are_one_and_without_scores_two_ways_are_left_out():
    made = outcome(rows("q", "7", ("7", None), ("8", None), ("16/2", None)), same_number)
    assert made == {"one": 1, "majority": False, "any": True}


def test_figures_by_number_of_samples_with_paired_differences():
    samples = [
        *rows("a", "7", ("5", 1.0), ("7", 3.0), ("7", 3.0), ("7", 3.0)),
        *rows("b", "4", ("4", 2.0), ("9", -2.0), ("9", -2.0), ("1", 0.0)),
    ]
    made = vote_figures(reversed(samples), [2, 4], same_number)
    assert list(made) == ["2", "4"]
    assert (made["2"]["majority"]["value"], made["4"]["majority"]["value"]) == (0.5, 0.5)
    assert (made["2"]["weighted"]["value"], made["4"]["weighted"]["value"]) == (1.0, 1.0)
    assert (made["2"]["one"]["value"], made["4"]["one"]["value"]) == (0.5, 0.5)
    assert made["4"]["weighted_minus_majority"].keys() == {"value", "low", "high", "n", "p"}
    assert made["4"]["weighted_minus_majority"]["value"] == 0.5
    assert made["4"]["any"]["value"] == 1.0


ANSWERS = st.none() | st.sampled_from(["1", "2", "3", "2/2"])
SAID = st.lists(st.tuples(ANSWERS, st.floats(-5, 5)), min_size=2, max_size=6)


@given(st.lists(SAID, min_size=1, max_size=5))
@settings(max_examples=30)
def test_no_way_is_better_than_any_and_intervals_hold_their_values(questions):
    samples = [row for number, said in enumerate(questions) for row in rows(str(number), "1", *said)]
    for row in samples:
        row["correct"] = row["answer"] in ("1", "2/2")
    (made,) = vote_figures(samples, [6], same_number).values()
    for way in ("one", "majority", "best", "weighted"):
        assert made[way]["value"] <= made["any"]["value"] + 1e-12
        assert made[way]["low"] - 1e-9 <= made[way]["value"] <= made[way]["high"] + 1e-9


@given(SAID, st.floats(-5, 5))
def test_equal_scores_make_the_weighted_vote_the_majority(said, score):
    made = outcome(rows("q", "1", *((answer, score) for answer, _ in said)), same_number)
    assert made["weighted"] == made["majority"]


def test_what_is_asked_for_must_be_there():
    with pytest.raises(HFDistillError, match="evaluate.votes holds 1: a vote takes two samples"):
        EvaluateConfig(votes=[1, 4])
    with pytest.raises(HFDistillError, match=r"row in evaluate.lenient: 'ICl', did you mean 'ICL'"):
        EvaluateConfig(lenient=["ICl"]).check_rows(["ICL", "Ours"])
    config = EvaluateConfig(votes=[4])
    assert config.votes_on("Ours") and not config.votes_on("ICL") and not EvaluateConfig().votes_on("Ours")
