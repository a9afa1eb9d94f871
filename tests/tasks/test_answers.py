"""Extraction against hand-labelled responses, each written for the rule that it names."""

import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.tasks.base import REASONS
from hfdistill.tasks.letters import extract_letter, last_letter
from hfdistill.tasks.numbers import canonical_number, extract_number, last_number, same_number
from hfdistill.tasks.texts import extract_expression, extract_phrase, same_phrase


FILE = Path(__file__).parents[1] / "data" / "answers.jsonl"
CASES = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def extract(kind: str, response: str, options: int = 10):
    readers = {"number": extract_number, "phrase": extract_phrase, "expression": extract_expression}
    return extract_letter(response, options) if kind == "letter" else readers[kind](response)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}-{case['rule']}-{case['response'][:40]!r}")
def test_hand_labelled(case):
    answer = extract(case["kind"], case["response"], case.get("options", 10))
    assert (answer.value, answer.reason) == (case["answer"], case["reason"])


def test_the_cases_cover_every_reason_and_are_enough():
    assert len(CASES) >= 300
    assert {case["reason"] for case in CASES if case["reason"]} == set(REASONS)
    assert min(Counter(case["kind"] for case in CASES).values()) >= 10


PROSE = st.text(st.characters(codec="utf-8", exclude_characters="#\\{}:<$◁"), max_size=80).filter(
    lambda text: "nswer" not in text.lower()
)
KINDS = st.sampled_from(["number", "letter", "phrase", "expression"])


@given(kind=KINDS, text=st.text(max_size=300))
def test_any_text_gives_a_value_or_a_reason(kind, text):
    answer = extract(kind, text)
    assert (answer.value is None) == (answer.reason is not None)
    assert answer.reason is None or answer.reason in REASONS


MARKERS = ("The answer is ", "Answer: ", "#### ", "\\boxed{", "Q:", "\nQuestion:")
PARTS = ("\\frac", "12", "1,000", "**", "<<", "e9", " and ", "million")
PIECES = st.sampled_from([*MARKERS, *PARTS, *"()ABIKx./-=,{}$%^½−² \n\\"])


@given(kind=KINDS, pieces=st.lists(PIECES, max_size=40))
def test_any_mixture_of_what_answers_are_made_of(kind, pieces):
    answer = extract(kind, "".join(pieces))
    assert (answer.value is None) == (answer.reason is not None)
    if answer.value is not None and kind == "number":
        assert str(Fraction(answer.value)) == answer.value
    if answer.value is not None and kind == "letter":
        assert answer.value in "ABCDEFGHIJ"


# What `Answer:` and a box announce depends on what stands beside them, and so does a cut.
ANNOUNCED = [
    case
    for case in CASES
    if case["rule"] not in ("cut", "none")
    and case["reason"] != "truncated"
    and ("nswer is" in case["response"] or "####" in case["response"])
]


@given(before=PROSE, after=PROSE, case=st.sampled_from(ANNOUNCED))
def test_prose_around_a_response_changes_nothing(before, after, case):
    response = f"{before}\n{case['response']}\n\nSo much for that. {after}"
    answer = extract(case["kind"], response, case.get("options", 10))
    assert (answer.value, answer.reason) == (case["answer"], case["reason"])


def test_prose_around_every_response():
    for case in ANNOUNCED:
        response = f"Let me think, 3 or 4 (B).\n\n{case['response']}\n\nI hope that 7 people like A and B."
        answer = extract(case["kind"], response, case.get("options", 10))
        assert (answer.value, answer.reason) == (case["answer"], case["reason"]), case


@given(value=st.fractions(max_denominator=10**6))
def test_a_canonical_number_is_read_back(value):
    text = str(value)
    assert canonical_number(text) == text
    assert extract_number(f"The answer is {text}.").value == text
    assert same_number(text, text)


@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_decimals_are_exact(value):
    assert Fraction(extract_number(f"The answer is {value:,f}.").value) == Fraction(value)


@given(value=st.integers(1, 10**10), cents=st.sampled_from(["", ".5"]))
def test_groups_as_in_india(value, cents):
    thousands, rest = divmod(value, 1000)
    pairs = re.sub(r"(?<=\d)(?=(?:\d\d)+$)", ",", str(thousands))
    grouped = f"{pairs},{rest:03}" if thousands else str(rest)
    assert extract_number(f"The answer is {grouped}{cents}.").value == str(Fraction(f"{value}{cents}"))


@given(
    whole=st.integers(0, 99),
    digits=st.text("0123456789", max_size=3),
    block=st.text("0123456789", min_size=1, max_size=6),
)
def test_what_repeats_without_an_end(whole, digits, block):
    value = Fraction(
        int(f"{whole}{digits}{block}") - int(f"{whole}{digits}"), 10 ** len(digits) * (10 ** len(block) - 1)
    )
    for form in (rf"{digits}\overline{{{block}}}", f"{digits}({block})", f"{digits}{block * 3}..."):
        assert extract_number(f"The answer is ${whole}.{form}$.").value == str(value)


@given(
    whole=st.integers(1, 999), part=st.integers(1, 98), parts=st.integers(2, 99), gap=st.sampled_from(["", " ", r"\,"])
)
def test_mixed_numbers_in_latex(whole, part, parts, gap):
    value = str(whole + Fraction(part, parts)) if part < parts else None
    for command in ("frac", "dfrac", "tfrac"):
        answer = extract_number(rf"The answer is ${whole}{gap}\{command}{{{part}}}{{{parts}}}$.")
        assert answer.value == value


@given(
    hour=st.integers(0, 23), minutes=st.integers(0, 59), after=st.sampled_from(["", " pm", " a.m.", " o'clock", "h"])
)
def test_a_time_is_its_hour_or_nothing(hour, minutes, after):
    answer = extract_number(f"The answer is {hour}:{minutes:02}{after}.")
    assert answer.value == (None if minutes else str(hour))


@given(number=st.integers(0, 10**6), unknown=st.sampled_from("knstwxyz"), sign=st.sampled_from("+-*/"))
def test_an_expression_is_no_number(number, unknown, sign):
    for form in (f"{unknown} {sign} {number}", f"{number} {sign} {unknown}", f"{unknown}{sign}{number}"):
        assert extract_number(f"The answer is {form}.").value is None


VALUES = st.one_of(
    st.fractions(max_denominator=50).map(str),
    st.integers(-20, 20).map(lambda number: f"{number}.0"),
    st.sampled_from(["1/2", "0.5", "2/4", "½", "none", "", "1e3", "1000", "1,000", "-0", "0", "x"]),
)


@given(a=VALUES, b=VALUES, c=VALUES)
def test_same_is_an_equivalence(a, b, c):
    for same in (same_number, same_phrase):
        assert same(a, a)
        assert same(a, b) == same(b, a)
        assert not (same(a, b) and same(b, c)) or same(a, c)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ("1/2", "0.5", True),
        ("1000", "1,000.0", True),
        ("44/3", "14.67", False),
        ("none", "none", True),
        ("none", "1", False),
    ],
)
def test_numbers_are_compared_as_rationals(a, b, equal):
    assert same_number(a, b) == equal


@pytest.mark.parametrize(
    ("response", "number"),
    [
        ("5 + 2 = 7", "7"),
        ("He has 1,200 pens left.", "1200"),
        ("It is -4.5 degrees", "-9/2"),
        ("seven", None),
        ("", None),
        ("3 pens\nQ: Another with 9?", "3"),
    ],
)
def test_the_last_number_anywhere(response, number):
    assert last_number(response).value == number


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("I would say (B), not (C).", "C"),
        ("So B.", "B"),
        ("A triangle has three sides", None),
        ("(E) is not there, (D) is", "D"),
        ("DNA", None),
        ("", None),
    ],
)
def test_the_last_letter_anywhere(response, letter):
    assert last_letter(response, 4).value == letter


@given(st.text(max_size=200))
def test_a_lenient_reading_never_fails_and_gives_what_the_task_knows(text):
    number, letter = last_number(text), last_letter(text, 4)
    assert (number.value is None) == (number.reason in REASONS)
    assert letter.value in (None, "A", "B", "C", "D")


PAGE = (Path(__file__).parents[2] / "docs" / "answers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"^.+ -> .+$", PAGE, re.MULTILINE))
def test_the_page_on_answers_tells_what_is_read(line):
    response, _, said = line.rpartition(" -> ")
    answer = extract_number(response.rstrip().replace("\\n", "\n"))
    assert said in (answer.value, answer.reason)
