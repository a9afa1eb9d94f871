"""Several samples a question: the majority, the best by score, their weighted vote, any, and what they differ by."""

import pytest

from hfdistill.report.evidence import MeasuredRow
from hfdistill.report.votes import pairs_in_order, vote_accuracies, vote_differences


def sampled(*questions: list[tuple[str | None, float | None]]) -> MeasuredRow:
    """A row whose samples to each question are `(answer, score)`; 7 is right."""
    samples = [
        {"question_id": f"q{number}", "sample": index, "answer": answer, "score": score, "correct": answer == "7"}
        for number, answers in enumerate(questions)
        for index, (answer, score) in enumerate(answers)
    ]
    return MeasuredRow("Ours", "", False, samples={2: samples[::-1]}, votes=(4,))  # their order is that of `sample`


def outcome(*answers: tuple[str | None, float | None]) -> dict[str, float]:
    made = vote_accuracies(sampled(list(answers)))[4]
    return {way: figures["value"] for way, figures in made.items()}


def test_each_way_of_using_samples_by_hand():
    told = outcome(("7", -1.0), ("8", 2.0), ("7", -3.0), ("9", 0.0))
    assert told == {"majority": 1.0, "weighted": 0.0, "best": 0.0, "any": 1.0}
    told = outcome(("8", -4.0), ("8", -4.0), ("7", 3.0), (None, -1.0))
    assert told == {"majority": 0.0, "weighted": 1.0, "best": 1.0, "any": 1.0}


def test_a_tie_goes_to_the_answer_that_was_sampled_first():
    assert outcome(("7", 0.0), ("8", 0.0), ("8", 0.0), ("7", 0.0))["majority"] == 1.0
    assert outcome(("8", 0.0), ("7", 0.0), ("7", 0.0), ("8", 0.0))["majority"] == 0.0


def test_samples_without_an_answer_do_not_vote():
    assert outcome((None, -1.0), (None, -1.0), (None, -1.0), ("7", -9.0)) == dict.fromkeys(
        ("majority", "weighted", "best", "any"), 1.0
    )
    assert set(outcome(*[(None, -1.0)] * 4).values()) == {0.0}


def test_without_scores_nothing_asks_the_reward_model():
    assert outcome(("7", None), ("7", None), ("8", None), ("9", None)) == {"majority": 1.0, "any": 1.0}


def test_differences_are_on_the_same_samples():
    better, worse = (
        [("8", -4.0), ("8", -4.0), ("7", 3.0), ("9", 0.0)],
        [("7", -1.0), ("7", -9.0), ("8", 2.0), ("9", 0.0)],
    )
    row = sampled(better, better, better, worse)
    found = vote_differences(row, "weighted")[4]
    assert (found.gained, found.lost) == (3, 1)
    assert found.value == pytest.approx(0.5)
    assert list(vote_differences(row, "weighted")) == [4]


def test_equal_answers_vote_together():
    row = sampled(
        [("7.0", 0.0), ("8", 0.0), ("8", 0.0), ("7", 0.0)], [("8", 0.0), ("7", 0.0), ("7.0", 0.0), ("9", 0.0)]
    )
    for sample in row.samples[2]:
        sample["correct"] = sample["answer"] in ("7", "7.0")
    assert vote_accuracies(row)[4]["majority"]["value"] == 0.0
    row.same = lambda one, other: float(one) == float(other)
    assert vote_accuracies(row)[4]["majority"]["value"] == 1.0


def test_pairs_in_order_by_hand():
    """Questions of 1 × 2 and of 1 × 1 pairs; a text that was sampled twice counts once."""
    answers = [("q1", "a", True, 1.0), ("q1", "b", False, 0.5), ("q1", "c", False, 1.0), ("q1", "b", False, 0.5)]
    answers += [("q2", "a", True, -1.0), ("q2", "b", False, 0.0), ("q3", "a", True, 2.0)]
    keys = ("question_id", "response", "correct", "score")
    samples = [dict(zip(keys, answer, strict=True)) for answer in answers]
    assert pairs_in_order(MeasuredRow("Ours", "", False, samples={2: samples})) == (1 + 0.5 + 0) / 3
    assert pairs_in_order(MeasuredRow("Ours", "", False, samples={2: samples[-1:]})) is None
