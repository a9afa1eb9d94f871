"""Differences over seeds, adjusted tests, and a choice in which test questions have no part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.report.evidence import MeasuredRow
from hfdistill.report.statistics import accuracy, best_with_and_without_model, compare, groups, holm, validated


def row(name: str, answers: dict[int, list[bool]], validated: float | None = None, reward: str = "vote", labels="l"):
    """A row whose policies were validated at `validated`."""
    made = MeasuredRow(name, name, False)
    for seed, right in answers.items():
        made.answers[seed] = [{"question_id": f"q{i}", "correct": correct} for i, correct in enumerate(right)]
        metrics = {} if validated is None else {"validation_accuracy": {"value": validated}}
        config = {"stage": {"rewards": [{"name": reward, "weight": 1.0}]}}
        made.manifests[seed] = {"policy": {"metrics": metrics, "config": config}}
        made.refs[seed] = {"labels": labels, "policy": name}
    return made


GOOD, POOR = [True] * 90 + [False] * 10, [True] * 60 + [False] * 40


def test_a_difference_is_over_the_seeds_that_both_rows_have():
    made = compare(row("Ours", {2: GOOD, 3: POOR, 4: GOOD}), row("vote", {2: POOR, 3: POOR}))
    assert made.value == pytest.approx(0.15)
    assert made.by_seed == {2: pytest.approx(0.3), 3: 0.0}
    assert (made.gained, made.lost) == (30, 0)
    assert made.p == pytest.approx(2 / 2**30)
    assert compare(row("Ours", {2: GOOD}), row("vote", {3: GOOD})) is None


def test_samples_are_compared_by_the_share_that_is_right():
    first, second = row("Ours", {2: GOOD}), row("vote", {2: GOOD})
    for each, right in ((first, [True, True]), (second, [True, False])):
        each.samples[2] = [
            {"question_id": f"q{number}", "sample": index, "correct": correct and number < 80}
            for index, correct in enumerate(right)
            for number in reversed(range(100))
        ]
    made = compare(first, second, sampled=True)
    assert (made.value, made.gained, made.lost) == (pytest.approx(0.4), 80, 0)
    assert compare(first, second).value == 0
    assert compare(first, row("other", {2: GOOD}), sampled=True) is None


def test_a_verdict_is_the_intervals():
    assert compare(row("a", {2: GOOD, 3: GOOD}), row("b", {2: POOR, 3: POOR})).verdict == 1
    assert compare(row("a", {2: POOR, 3: POOR}), row("b", {2: GOOD, 3: GOOD})).verdict == -1
    assert compare(row("a", {2: GOOD, 3: GOOD}), row("b", {2: [*GOOD[1:], True], 3: GOOD})).verdict == 0


def test_rows_that_answered_other_questions_are_not_compared():
    with pytest.raises(HFDistillError, match="rows 'a' and 'b' of seed 2 answered other questions"):
        compare(row("a", {2: GOOD}), row("b", {2: GOOD[:-1]}))


def test_accuracy_has_an_interval_over_seeds_and_questions():
    alone, several = accuracy([GOOD]), accuracy([GOOD, POOR])
    assert alone["value"] == pytest.approx(0.9)
    assert 0.82 < alone["low"] < 0.9 < alone["high"] < 0.97
    assert several["value"] == pytest.approx(0.75)
    assert several["low"] < 0.62 and several["high"] > 0.88  # the seeds differ by more than the questions


def test_holms_adjustment_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_are_larger_in_the_same_order_and_at_most_one(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    assert max(adjusted) <= min(1, len(p_values) * max(p_values)) + 1e-12
    by_p = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)


def test_the_best_with_and_without_a_model_are_chosen_on_validation_not_on_test():
    vote = row("vote", {2: POOR}, 0.7)
    luckier, validated = row("luckier", {2: GOOD}, 0.6, "distilled"), row("chosen", {2: POOR}, 0.8, "stratified")
    assert best_with_and_without_model([vote, luckier, validated]) == (validated, vote)
    not_validated = row("not validated", {2: GOOD}, None, "distilled")
    assert best_with_and_without_model([vote, not_validated]) is None
    assert best_with_and_without_model([luckier, validated]) is None
    bought = row("bought", {2: GOOD}, 0.9, "distilled")
    bought.manifests[2]["policy"]["config"]["stage"]["gold_budget"] = 50
    assert best_with_and_without_model([vote, bought, validated]) == (validated, vote)
    moved = row("moved by the plain vote", {2: POOR}, 0.9)
    moved.manifests[2]["policy"]["config"]["stage"] |= {"moving_labels": "all", "label_weighting": "none"}
    assert best_with_and_without_model([vote, moved, validated]) == (validated, moved)
    assert best_with_and_without_model([moved, validated]) is None, "nothing says what the vote comes to"


def test_rows_are_grouped_by_the_labels_that_they_learned_from():
    rows = [row("a", {2: GOOD}, labels="x"), row("b", {2: GOOD}, labels="y"), row("c", {2: GOOD}, labels="x")]
    teacher = MeasuredRow("Teacher", "", True)
    assert [[each.name for each in group] for group in groups([teacher, *rows])] == [["a", "c"], ["b"]]


def test_moving_labels_weighted_by_the_reward_model_are_no_vote_alone():
    moved = row("moved", {2: GOOD})
    moved.manifests[2]["policy"]["config"]["stage"]["moving_labels"] = "fail"
    assert not moved.is_vote and moved.asks_model
    assert row("vote", {2: GOOD}).is_vote and not row("vote", {2: GOOD}).asks_model


def test_agreement_is_preferred_to_labels_where_every_seed_logged_it():
    made = row("a", {2: GOOD, 3: GOOD}, validated=0.9)
    metrics = made.manifests[2]["policy"]["metrics"]
    metrics |= {"best_step": 8, "curve": [{"step": 8, "agreement": 0.5}, {"step": 16, "agreement": 0.7}]}
    assert validated(made, [2]) == 0.5
    assert validated(made, [2, 3]) == 0.9, "a seed without it"
    assert validated(made, [2, 4]) is None
