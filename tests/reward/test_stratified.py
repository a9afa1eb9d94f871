"""The model orders, the vote decides: whatever the scores, a right answer is above a wrong one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.reward.scored import Judged
from hfdistill.reward.stratified import StratifiedReward, squashed, stratified_rewards


def judged(key: str, right: bool | None, score: float | None) -> Judged:
    answer = None if score is None else "7"
    return Judged(key, "text", answer, None if right is None else "7", right if answer else None, score)


def test_worked_example():
    asked = [
        judged("a", True, 2.0),
        judged("a", True, -2.0),
        judged("a", True, 1.0),
        judged("a", False, 5.0),  # alone in its stratum: what the model says of it
        judged("b", False, 3.0),
        judged("b", False, 3.0),  # equal ones, too
        judged("b", True, None),  # no answer
        judged("c", None, 4.0),  # D_fail: the model alone
        judged("c", None, -4.0),
    ]
    alone, equal, failed = math.tanh(2.5), math.tanh(1.5), math.tanh(2.0)
    assert stratified_rewards(asked, beta=0.4) == pytest.approx(
        [1.4, 0.6, 1.2, -1 + 0.4 * alone, *[-1 + 0.4 * equal] * 2, -5.0, 0.4 * failed, -0.4 * failed]
    )
    assert squashed(0.0) == 0


SCORES = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 1.0 + 1e-15]))
CALLS = st.lists(
    st.builds(judged, st.sampled_from("abc"), st.sampled_from([True, False, None]), SCORES), min_size=1, max_size=20
)


@given(CALLS, st.floats(0, 0.99), st.randoms())
def test_invariants(asked, beta, random):
    rewards = stratified_rewards(asked, beta=beta)
    pairs = list(zip(asked, rewards, strict=True))
    right = [reward for each, reward in pairs if each.right is True]
    wrong = [reward for each, reward in pairs if each.right is False]
    assert min(right, default=2) > max(wrong, default=-2), "the vote decides"
    for each, reward in pairs:
        if each.answer is None:
            assert reward == -5
        else:
            assert abs(reward - {True: 1, False: -1, None: 0}[each.right]) <= beta + 1e-12, "the model is bounded"
        for other, less in pairs:
            stratum = (each.question_id, each.right, each.answer) == (other.question_id, other.right, other.answer)
            if stratum and each.answer is not None and each.score > other.score:
                assert reward >= less, "the model orders"
    order = list(range(len(asked)))
    random.shuffle(order)
    turned = stratified_rewards([asked[index] for index in order], beta=beta)
    assert turned == [rewards[index] for index in order], "the batch's order changes nothing"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 1}, "beta of reward stratified is 1: it must be a number, 0 or more and below 1"),
        ({"beta": "half"}, "beta of reward stratified is 'half': it must be a number"),
        ({"pessimism": -1.0}, r"pessimism of reward stratified is -1.0: it must be a number, 0 or more$"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(HFDistillError, match=message):
        StratifiedReward(**options)
