"""The vote without a threshold."""

from hypothesis import given
from hypothesis import strategies as st

from hfdistill.labels.plurality import plurality
from hfdistill.tasks import same_number


ANSWERS = st.lists(st.none() | st.sampled_from(["1", "2", "3", "1.0", "6/3"]), max_size=8)


def test_most_win_and_of_equals_the_first_sampled():
    assert plurality(["5", "7", "7", None], str.__eq__) == "7"
    assert plurality(["5", "7", "7", "5"], str.__eq__) == "5"
    assert plurality([None, None], str.__eq__) is None
    assert plurality([], str.__eq__) is None


def test_weights_count_instead_of_heads_and_equal_answers_are_one():
    assert plurality(["5", "7", "7"], str.__eq__, [0.9, 0.2, 0.3]) == "5"
    assert plurality(["5", "7", "14/2"], same_number, [0.9, 0.5, 0.5]) == "7"


@given(ANSWERS)
def test_equal_weights_are_the_majority_and_what_wins_was_said(answers):
    won = plurality(answers, same_number)
    assert won == plurality(answers, same_number, [0.25] * len(answers))
    assert won is None if set(answers) <= {None} else won in answers
