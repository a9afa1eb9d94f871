import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.reward.pairs import edit_distances, matched_pairs, nearest
from hfdistill.reward.triples import make_triples

from .test_triples import row


def levenshtein(one: str, other: str) -> int:
    before = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        now = [i]
        for j, b in enumerate(other, start=1):
            now.append(min(before[j] + 1, now[-1] + 1, before[j - 1] + (a != b)))
        before = now
    return before[-1]


@given(st.text("abc", max_size=9), st.lists(st.text("abcd", max_size=9), min_size=1, max_size=5))
def test_distances_are_levenshteins(one, others):
    assert edit_distances(one, others).tolist() == [levenshtein(one, other) for other in others]


def texts(*responses: str, label: str = "correct") -> list[dict]:
    return [row("q", text, label, sample) for sample, text in enumerate(responses)]


def test_the_nearest_stands_beside_and_each_once():
    wrong = texts("a b c x", "p q r x", "p q x x", label="incorrect")
    taken = nearest(texts("p q r s", "p q r t"), wrong)
    assert [each["response"] for each in taken] == ["p q r x", "p q x x"]
    by_ids = nearest([{"token_ids": [1, 2, 3]}], [{"token_ids": [9, 9]}, {"token_ids": [1, 2, 4]}])
    assert by_ids == [{"token_ids": [1, 2, 4]}]


RESPONSES = st.lists(st.sampled_from(["a", "a\nb", "b\na", "a\nb\nc", "c"]), max_size=8)


@given(RESPONSES, RESPONSES, st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 3))
def test_each_response_once_and_as_many_lines(right, wrong, most, near, balance, seed):
    right, wrong = texts(*right), texts(*wrong, label="incorrect")
    pairs = matched_pairs(right, wrong, most, random.Random(seed), near=near, balance=balance)
    for side in zip(*pairs, strict=True):
        assert len({each["sample"] for each in side}) == len(side) <= most
    lines = [[len(each["response"].splitlines()) for each in rows] for rows in (right, wrong)]
    if balance:
        assert all(a["response"].count("\n") == b["response"].count("\n") for a, b in pairs)
        possible = sum(min(lines[0].count(n), lines[1].count(n)) for n in set(lines[0]))
    else:
        possible = min(len(right), len(wrong))
    assert len(pairs) == min(possible, most)


@pytest.mark.parametrize("options", [{"pairs": "near"}, {"balance": True}, {"pairs": "near", "balance": True}])
def test_triples_of_matched_pairs(options):
    student = [*texts("a\nb", "a\nc", "a"), *texts("x\nb", "y", label="incorrect")]
    taught = texts("a\nb", "a", "b")
    triples = make_triples(student, taught, max_triples=4, seed=0, **options)
    pairs = {(row["student_positive"], row["student_negative"]) for row in triples}
    assert len(triples) == 2 and all(row["teacher_positive"] for row in triples)
    if "balance" in options:
        assert ("a", "y") in pairs
    again = make_triples(student, taught, max_triples=4, seed=0, **options)
    assert again == triples
