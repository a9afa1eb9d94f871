"""Replies of judges, read as their prompts ask for them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.labels.verdicts import UNREADABLE, reader_of
from hfdistill.tasks.base import COMPARE, GRADE


YES_NO = reader_of(GRADE.format(question="", response=""))
OF_TWO = reader_of(COMPARE.format(question="", response="", other=""), compares=True)
OF_TEN = reader_of('Rate the response on a scale of 1 to 10, strictly in this form: "[[rating]]", as "Rating: [[5]]".')
JSON_SCORE = reader_of('Reply in JSON: {"reason": "...", "score": 1-5}')
JSON_TRUTH = reader_of('Reply in JSON: {"reason": "...", "kind": true or false}')

CASES = [
    (YES_NO, "A polite answer. **Verdict:** yes", "for"),
    (YES_NO, "Verdict: no", "against"),
    (YES_NO, "Verdict: yes or no?\nVerdict: No.", "against"),
    (YES_NO, "Final verdict is **no**.", "against"),
    (YES_NO, '```json\n{"verdict": "yes"}\n```', "for"),
    (YES_NO, "[[no]]", "against"),
    (YES_NO, "Verdict: \\boxed{\\text{yes}}", "for"),
    (YES_NO, "No, it is rude.", "against"),
    (YES_NO, "I think so.\n\n**yes**", "for"),
    (YES_NO, "Verdict: yes\n\nThere is no more to say.", "for"),
    (YES_NO, "<think>Verdict: no</think>\nVerdict: yes", "for"),
    (YES_NO, "No? Verdict: no</think> Verdict: yes", "for"),
    (YES_NO, "<think>Verdict: no", "unfinished_thought"),
    (YES_NO, "Hard to say.", "no_verdict"),
    (YES_NO, "Verdict: no issues found", "no_verdict"),
    (YES_NO, 'One line, either "Verdict: yes" (a good answer) or "Verdict: no".', "no_verdict"),
    (YES_NO, "Nobody knows.", "no_verdict"),
    (YES_NO, "", "no_verdict"),
    (OF_TWO, "Verdict: A", "for"),
    (OF_TWO, "Verdict: Answer B", "against"),
    (OF_TWO, "[[B]]", "against"),
    (OF_TWO, "[[C]]", "tie"),
    (OF_TWO, "Verdict: a tie", "tie"),
    (OF_TWO, "Verdict: A\n\nAnswer B is weak.", "for"),
    (OF_TWO, "(A)", "for"),
    (OF_TWO, "Verdict: A good answer", "no_verdict"),
    (OF_TWO, "I like a cat", "no_verdict"),
    (OF_TEN, "Rating: [[7]]", "for"),
    (OF_TEN, "[[6.5]]", "against"),
    (OF_TEN, "Score: 7/10", "for"),
    (OF_TEN, "Rating (1-10): 6", "against"),
    (OF_TEN, "I'd give it a score of 8 out of 10.", "for"),
    (OF_TEN, "9", "for"),
    (OF_TEN, "Rating: [[11]]", "off_scale"),
    (OF_TEN, "Score: 4/5", "off_scale"),
    (OF_TEN, "Score: -3", "off_scale"),
    (OF_TEN, "Score: 7-8", "no_verdict"),
    (OF_TEN, "[[rating]] of 3 apples", "no_verdict"),
    (JSON_SCORE, '{"reason": "a score of 2 is too low", "score": 5}', "for"),
    (JSON_SCORE, '{"score": "3"}', "against"),
    (JSON_TRUTH, '{"kind": false, "reason": "true, but late"}', "against"),
]


@pytest.mark.parametrize(("reader", "reply", "said"), CASES)
def test_what_a_reply_says(reader, reply, said):
    read = reader.read(reply, "stop")
    assert (read.said or read.reason) == said and (read.said is None) == (read.reason in UNREADABLE)
    assert reader.read(reply, "length").reason == "cut"


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("Is this kind?", "yes or no"),
        ("Is it correct or incorrect? Think of a score from 1 to 10, then end in Verdict: yes or no.", "yes or no"),
        ("Say whether it is correct or incorrect.", "correct or incorrect"),
        ("Say whether it is correct or incorrect by a score from 0 to 5.", "a score from 0 to 5"),
        ("Rate it: 1 (bad) to 5 (good).", "a score from 1 to 5"),
        ('End in "Score: X/10".', "a score from 0 to 10"),
    ],
)
def test_what_a_prompt_asks_for(prompt, asked):
    assert reader_of(prompt).asked == asked


def test_the_least_good_score():
    prompt = "Give a score from 1 to 10."
    assert reader_of(prompt, good_from=9).read("Score: 8").said == "against"
    with pytest.raises(HFDistillError, match="good_from is 11, and its prompt asks for a score from 1 to 10"):
        reader_of(prompt, good_from=11)
    with pytest.raises(HFDistillError, match="asks for no score"):
        reader_of("Is this kind?", good_from=3)


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=80), st.sampled_from(["yes", "no"]))
def test_a_last_line_decides_whatever_stands_before_it(before, word):
    said = YES_NO.read(f"{before}\nVerdict: {word}")
    assert (
        said.said == {"yes": "for", "no": "against"}[word] or "<think" in before.lower() or "[THINK" in before.upper()
    )


def test_a_hostile_megabyte_is_read_at_once():
    for piece in ("[", "verdict ", "{", "yes or ", "</think>", '"', "Verdict: yes or "):
        reply = piece * (1_000_000 // len(piece))
        for reader in (YES_NO, OF_TEN):
            began = time.process_time()
            reader.read(reply)
            assert time.process_time() - began < 0.5
