import pytest

from hfdistill.errors import HFDistillError
from hfdistill.reward.distilled import distilled_reward


def same(a: str, b: str) -> bool:
    return float(a) == float(b)


@pytest.mark.parametrize(
    ("answer", "pseudo_label", "score", "reward"),
    [
        (None, "5", None, -5.0),  # no extractable answer; the reward model was not asked
        (None, None, 3.0, -5.0),  # also in D_fail, whatever the score
        ("4", "5", 2.5, 0.0),  # differs: min(r, 0)
        ("4", "5", -1.5, -1.5),
        ("5", "5", 2.5, 2.5),  # agrees: r
        ("5", "5", -1.5, -1.5),
        ("5.0", "5", 2.5, 2.5),  # agrees as the task sees it
        ("4", None, 2.5, 2.5),  # D_fail: r
        ("4", None, -1.5, -1.5),
    ],
)
def test_equation_7(answer, pseudo_label, score, reward):
    assert distilled_reward("q", "a", answer, pseudo_label, score, same=same) == reward


@pytest.mark.parametrize(
    ("answer", "score", "reward"), [("4", 2.5, 1.5), ("4", -1.5, -2.5), ("5", 2.5, 2.5), (None, None, -5.0)]
)
def test_variant_minus(answer, score, reward):
    assert distilled_reward("q", "a", answer, "5", score, same=same, variant="minus") == reward


def test_unknown_variant():
    with pytest.raises(HFDistillError, match="did you mean 'minus'"):
        distilled_reward("q", "a", "4", "5", 1.0, same=same, variant="minos")
