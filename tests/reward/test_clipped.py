import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.reward.clipped import ClippedReward, clipped_reward


def same(a: str, b: str) -> bool:
    return a == b


@pytest.mark.parametrize(
    ("answer", "pseudo_label", "score", "reward"),
    [
        (None, "5", None, -5.0),
        (None, None, None, -5.0),
        ("5", "5", 3.0, 1.0),  # above the threshold nothing is gained
        ("5", "5", -1.0, 0.0),  # 1 + 0.5 * (-1 - 1)
        ("4", "5", 3.0, -1.0),
        ("4", "5", -1.0, -2.0),
        ("4", None, 3.0, 0.0),  # D_fail
        ("4", None, -1.0, -1.0),
    ],
)
def test_table(answer, pseudo_label, score, reward):
    assert clipped_reward(answer, pseudo_label, score, same=same, weight=0.5, threshold=1.0) == reward


@given(st.floats(-50, 50), st.floats(-50, 50), st.sampled_from(["4", "5"]), st.sampled_from(["5", None]))
def test_nothing_is_gained_above_the_vote(one, other, answer, pseudo_label):
    low, high = sorted((one, other))
    below, above = (clipped_reward(answer, pseudo_label, score, same=same) for score in (low, high))
    assert below <= above <= clipped_reward(answer, pseudo_label, 0.0, same=same)


def test_options_that_make_no_sense():
    for options in ({"weight": -1}, {"threshold": float("nan")}, {"pessimism": True}):
        with pytest.raises(HFDistillError, match=f"{next(iter(options))} of reward clipped is"):
            ClippedReward(**options)
