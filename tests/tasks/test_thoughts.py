"""What models say outside of their thoughts, in the marks that they are trained on."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.tasks import Question, load_task
from hfdistill.tasks.base import UNFINISHED
from hfdistill.tasks.markers import CUT, final_part
from hfdistill.tasks.thoughts import PAIRS, spoken


RECITED = "The examples end in 'The answer is 6.'\n\nQ: Another one?\nThe answer is 39. Now ours: 18."


@pytest.mark.parametrize(("opening", "closing"), PAIRS.items())
def test_pairs_of_marks(opening, closing):
    said = spoken(f"{opening}\n{RECITED}\n{closing}\n\nThe answer is 18.")
    assert said.strip() == "The answer is 18."
    # The template may have opened the thought in the prompt.
    assert spoken(f"{RECITED}{closing}\n18").strip() == "18"
    assert spoken(f"18 at first, but {opening}{RECITED}") is None


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("No thought at all: [1] and 2 < 3.", "No thought at all: [1] and 2 < 3."),
        ("<think>\n\n</think>\n\nHello", "Hello"),
        ("<think>I must write </think> at the end.</think>Hello", "Hello"),
        ("<think>What does <think> mean?</think>Hello", "Hello"),
        ("<thinking>Hm.<reflection>Ho.</reflection>Yes.</thinking>Hello", "Hello"),
        ("First.<think>Second.</think>Third.", "First.\nThird."),
        ("<think>Hm.</think>Hello</think>", "Hello"),
        ("I thought so far.</think>", ""),
        (
            "Its thoughts stand between `<think>` and `</think>`.",
            "Its thoughts stand between `<think>` and `</think>`.",
        ),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello<|return|>",
            "Hello",
        ),
        (
            "Hm.<|end|><|start|>assistant<|channel|>final <|constrain|>JSON<|message|>Hello<|end|><|start|>user",
            "Hello",
        ),
        ("<|channel|>analysis<|message|>It is final.<|end|><|start|>assistant<|channel|>commentary", None),
        ("analysisWe need to greet.assistantfinalHello", "Hello"),
        ("analysisWe need to greet.", None),
        ("analysis of the greeting", "analysis of the greeting"),
    ],
)
def test_what_is_said(response, said):
    assert (spoken(response) or "").strip() == (said or "") and (spoken(response) is None) == (said is None)


def test_a_next_question_ends_the_response_and_a_recited_one_does_not():
    assert (
        final_part(f"<think>{RECITED}</think>The answer is 18.\nQ: Next?\n<think>Hm", CUT).strip()
        == "The answer is 18."
    )
    assert (
        final_part("Hm.</think>The answer is 18.\nQ: Next?\nHm.</think>The answer is 2.", CUT) == "The answer is 18."
    )
    assert final_part("Q: Ours?\nThe answer is 18.<think>Hm", CUT) is None


@pytest.mark.parametrize("answer", ["number", "choice", "exact", "open"])
def test_every_kind_of_answer_passes_thoughts_by(answer):
    task = load_task({"name": "generic", "answer": answer})
    question = Question("q", "?", "train", ("north", "south"))
    said = {
        "number": "The answer is 5.",
        "choice": "The answer is (B).",
        "exact": "The answer is here.",
        "open": "So.",
    }
    thoughtful = f"<think>The answer is 3 or (A) or there.</think>\n{said[answer]}"
    assert task.extract(thoughtful, question) == task.extract(said[answer], question)
    assert task.extract(thoughtful, question).value
    assert task.extract(thoughtful[:30], question) == UNFINISHED
    if answer in ("number", "choice"):
        assert task.last_value(thoughtful[:30], question) == UNFINISHED


HELD = st.lists(st.sampled_from([*PAIRS, *PAIRS.values(), "a", " ", "\n", "<", "[", "analysisA"]), max_size=12)


@given(st.sampled_from(list(PAIRS.items())), HELD.map("".join), st.text(st.characters(exclude_characters="<[◁")))
def test_whatever_a_thought_holds_but_its_closing_mark_is_passed_by(marks, held, said):
    opening, closing = marks
    if closing not in held + closing[:-1]:
        assert spoken(f"{opening}{held}{closing}{said}").strip() == said.strip()


@pytest.mark.parametrize("piece", ["<", "<think>", "</think>", "<think></think>", "`<think>", "[THINK]a", "[", "<|ch"])
def test_a_megabyte_of_marks(piece):
    text = (piece * 1_000_000)[:1_000_000]
    started = time.process_time()
    spoken(text)
    assert time.process_time() - started < 0.15
