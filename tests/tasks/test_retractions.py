"""Answers that are taken back in words, and words that take nothing back."""

import pytest

from hfdistill.tasks import extract_number
from hfdistill.tasks.retractions import standing


@pytest.mark.parametrize(
    "words",
    [
        "Wait, I forgot the second day.",
        "I need to correct this.",
        "I've made a small mistake in the second step.",
        "On second thought, the days differ.",
        "Oops!",
        "Hold on, no.",
        "That's not right: there are two days.",
        "My previous answer was wrong.",
        "Let me redo the second step.",
        "I apologize for the confusion.",
        "There is an error in my calculation.",
        "Scratch that.",
    ],
)
@pytest.mark.parametrize(
    "answers", [("The answer is 12.", "The answer is 24."), ("#### 12", "Answer: 24"), ("\\boxed{12}", "#### 24")]
)
def test_words_that_take_an_answer_back(words, answers):
    first, second = answers
    assert extract_number(f"{first}\n{words}\n{second}").value == "24"
    assert extract_number(f"{first}\n{words}").value == "12"


@pytest.mark.parametrize(
    "words",
    [
        "Let me check: 6 + 6 = 12.",
        "Is that wrong?",
        "Wait.",
        "So",
        "The other option is incorrect because it is less.",
        "",
    ],
)
def test_words_that_take_nothing_back(words):
    text = f"The answer is 12.\n{words}\nThe answer is 24."
    assert standing(text) == text
    assert extract_number(text).value == "12"
