"""When two mathematical answers are one."""

import random
import re
import time
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.tasks.symbolic import expression_key, same_expression


# Every line is one answer in several forms, and no two lines are the same answer.
ANSWERS = [
    [r"\frac{1}{2}", "0.5", "1/2", r"\frac12", r"\dfrac{1}{2}", r"\sin 30^\circ", "2^{-1}", "½", "x = 0.50"],
    [
        r"50\%",
        "50",
        r"\$50",
        r"50 \text{ apples}",
        "x=50",
        r"50^\circ",
        "50 degrees",
        r"\text{Area} = 50",
        "50 percent",
    ],
    [r"5 \text{ cm}", "5 cm", r"5\,\mathrm{cm}", r"0.05\text{ m}", "50 mm"],
    [r"5\text{ m}", "5 m", r"5\text{ meters}", "500 cm"],
    ["5", "x = 5", "5.0", r"\sqrt{25}", "|-5|", "2+3=5", r"\{5\}", "(5)"],
    ["5m", "m5"],
    [r"60\text{ km/h}", "60 km/h", r"60 \text{ km per hour}", r"1\text{ km per minute}"],
    [r"16\text{ cm}^2", r"16\text{ square centimeters}", "16 cm^2"],
    ["x^2+2x+1", "(x+1)^2", "(1+x)(x+1)", "y = (x+1)^2", "f(x)=x^2+2x+1"],
    [r"2\sqrt{2}", r"\sqrt{8}", r"2\sqrt2", "2√2", "8^{1/2}"],
    ["3, 5", r"5 \text{ and } 3", r"\{3,5\}", "x=3 or x=5", "3 and 5", "x = 3, x=5"],
    ["(3,5)", r"\left(3, 5\right)", "3<x<5", "5>x>3"],
    ["[3,5]", r"3 \le x \leq 5"],
    ["x>5", r"(5,\infty)", "5<x", r"x \in (5, \infty)"],
    ["x = 3, y = 5", "y=5 and x=3"],
    ["x=5,y=3"],
    [r"2\frac{1}{2}", "5/2", "2.5", r"2 \tfrac12", "2 1/2"],
    [r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix}1&2\\3&4.0\end{bmatrix}"],
    [r"\pm 3", "3,-3", r"\{-3, 3\}"],
    ["1,000", r"1{,}000", "1000", "10^3", r"1\,000"],
    [r"0.\overline{3}", "1/3", "0.333..."],
    ["0.333"],
    [r"\text{Tuesday}", "Tuesday", "tuesday."],
    ["cat"],
    ["act"],
    ["3+4i", "4i+3"],
    ["1010_2", "10", r"\binom{5}{2}", r"20\sin\frac{\pi}{6}"],
    [r"(-\infty,1)\cup(2,3]"],
    [r"\frac{\pi}{3}", r"\pi/3"],
    ["2x+3y=5", "4x+6y=10", "5 - 3y = 2x", r"y = \frac{5-2x}{3}"],
    ["y = 2x + 3", "2x - y + 3 = 0", "y - 2x = 3", "2x + 3"],
    ["a + 2b = 4", "2a = 8 - 4b"],
    ["2x = 15", "x = 7.5", "7.5"],
    ["x^2 + y^2 = 4", "4 - y^2 = x^2"],
    [r"\frac{1}{x} + \frac{1}{y} = 1", r"1 = \frac1y + \frac1x"],
    [r"\$32,\!348", "32348", "32,348"],
    [r"\mathbb{R}", r"(-\infty, \infty)"],
    [r"\angle ABC = 120^\circ", "120"],
    [r"\boxed{17}", "17"],
    [r"\frac{\pi}{2} + k\pi, k \in \mathbb{Z}", r"\pi k + \frac{\pi}{2}, k\in\mathbb{Z}"],
    [r"3\text{ hours}", "180 minutes"],
    [r"\$5 \text{ million}", "5{,}000{,}000", r"5 \times 10^6"],
    ["7 in", r"7 \text{ inches}"],
    ["7 in total", r"7\text{ in all}", "7"],
    ["2x+3y>5", "5<3y+2x"],
    [r"\log_2 8", "3", r"\sqrt[3]{27}", r"\ln e^3"],
    [r"x^2 \sqrt{x}", "x^{5/2}"],
    [r"\frac{x+1}{x-1}", r"-\frac{x+1}{1-x}"],
    ["n!", r"n \cdot (n-1)!"],
    ["|x|", r"\sqrt{x^2}"],
    ["x"],
    ["100!", r"100 \cdot 99!"],
    ["100!+1"],
    [r"\emptyset", r"\{\}"],
    ["3:4"],
    ["5:30"],
]
HOSTILE = [
    r"\binom{100000000}{50000000}",
    "(10^{8})!",
    "9^{9^{9^9}}",
    r"((10^{999})^{999})^{999}",
    r"\sum_{k=1}^{999} k^{k}",
    "(" * 160 + "x" + ")" * 160,
    "1e999999999",
    r"(1+10^{-40})^{10^{40}}",
    r"\sqrt" * 190 + "2",
    "x!" * 190,
    "x^" * 190 + "x",
    "(x+1)^{999}" * 30,
    r"\tan(10^{300})",
    "1" * 390,
    "1/3+" * 99 + "1",
    "1/0",
    r"\ln 0",
    "((x!)!)!",
    "5_{99}",
]


def test_one_answer_in_several_forms_and_no_two_answers_alike():
    keys = [{expression_key(form) for form in forms} for forms in ANSWERS]
    assert [forms for forms, found in zip(ANSWERS, keys, strict=True) if len(found) > 1] == []
    for (a, first), (b, second) in combinations(zip(ANSWERS, keys, strict=True), 2):
        assert not first & second, (a, b)


PIECES = [
    "\\frac",
    "\\sqrt",
    "\\text{ cm}",
    "\\%",
    "\\$",
    "\\pm",
    "\\cup",
    "0.5",
    "1,000",
    "...",
    " and ",
    "\\overline{3}",
]
FORMS = st.one_of(
    st.sampled_from([form for forms in ANSWERS for form in forms] + HOSTILE),
    st.lists(st.sampled_from([*PIECES, *"0123456789xyei{}()[]|+-*/^_!,=<>:'\\ "]), max_size=12).map("".join),
    st.text(max_size=20),
)


@given(a=FORMS, b=FORMS, c=FORMS)
def test_same_expression_is_an_equivalence(a, b, c):
    assert same_expression(a, a)
    assert same_expression(a, b) == same_expression(b, a)
    assert not (same_expression(a, b) and same_expression(b, c)) or same_expression(a, c)


@given(value=st.fractions(max_denominator=10**6), other=st.fractions(max_denominator=10**6))
def test_rationals_are_exact(value, other):
    assert same_expression(str(value), f"\\frac{{{value.numerator}}}{{{value.denominator}}}")
    assert same_expression(str(value), str(other)) == (value == other)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
def test_a_hostile_expression_costs_little(text):
    expression_key.cache_clear()
    started = time.process_time()
    assert same_expression(text, f"{text} ") and not same_expression(text, "12")
    assert time.process_time() - started < 0.5


@pytest.mark.slow
def test_ten_thousand_answers_with_hostile_ones_among_them():
    drawn = random.Random(0)
    forms = [form for forms in ANSWERS for form in forms]
    texts = [f"{drawn.choice(forms)}{' ' * (number % 97)}" for number in range(9_000)]
    texts += [f"{drawn.choice(HOSTILE)} + {number}" for number in range(1_000)]
    drawn.shuffle(texts)
    started = time.process_time()
    for a, b in pairwise(texts):
        same_expression(a, b)
    # At least 200 a second is asked for.
    assert time.process_time() - started < len(texts) / 200


PAGE = (Path(__file__).parents[2] / "docs" / "answers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("a", "sign", "b"), re.findall(r"^(\S.*?)\s{2,}([=≠]) (.+)$", PAGE, re.MULTILINE))
def test_the_page_on_answers_tells_which_are_one(a, sign, b):
    assert same_expression(a, b) == (sign == "=")
