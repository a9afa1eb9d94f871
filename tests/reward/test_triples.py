import itertools
import random
from collections import Counter

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.reward.triples import count_triples, make_triples, student_failures


def row(question_id: str, response: str, label: str | None, sample: int = 0, finish_reason: str = "eos_token") -> dict:
    return {
        "question_id": question_id,
        "question": f"question {question_id}",
        "response": response,
        "label": label,
        "temperature": 0.7,
        "sample": sample,
        "finish_reason": finish_reason,
    }


def many(question_id: str, speaker: str, right: int, wrong: int) -> list[dict]:
    rows = [row(question_id, f"{speaker} right {i}", "correct", i) for i in range(right)]
    return rows + [row(question_id, f"{speaker} wrong {i}", "incorrect", 100 + i) for i in range(wrong)]


def test_equation_3():
    student = [
        row("always right", "a", "correct"),
        row("once wrong", "a", "correct"),
        row("once wrong", "b", "incorrect"),
        row("always wrong", "a", "incorrect"),
        row("D_fail", "a", None),
    ]
    assert student_failures(student) == ["once wrong", "always wrong"]


@pytest.mark.parametrize(
    ("right", "wrong", "taught", "triples"),
    [(3, 5, 9, 3), (5, 2, 9, 2), (5, 5, 1, 1), (9, 9, 9, 4), (0, 5, 5, 0), (5, 5, 0, 0)],
)
def test_number_of_triples(right, wrong, taught, triples):
    drawn = make_triples(many("q", "S", right, wrong), many("q", "T", taught, 3), max_triples=4, seed=0)
    assert len(drawn) == triples
    for role, mark in (
        ("student_positive", "S right"),
        ("student_negative", "S wrong"),
        ("teacher_positive", "T right"),
    ):
        texts = [triple[role] for triple in drawn]
        assert all(text.startswith(mark) for text in texts)
        assert len(set(texts)) == len(texts), "drawn without replacement"
        assert all(triple[f"{role}_finished"] for triple in drawn)
    assert all(triple["teacher_negative"] is None for triple in drawn)


def test_ids_name_the_responses():
    (triple,) = make_triples(
        [row("q", "right", "correct", 3), row("q", "cut", "incorrect", 5, "length")],
        [{**row("q", "best", "correct", 2), "temperature": 0.1}],
        max_triples=1,
        seed=0,
    )
    assert triple["student_positive_id"] == "student/q/0.7/3"
    assert triple["student_negative_id"] == "student/q/0.7/5"
    assert triple["teacher_positive_id"] == "teacher/q/0.1/2"
    assert (triple["student_positive_finished"], triple["student_negative_finished"]) == (True, False)
    assert triple["question"] == "question q"


def test_draw_depends_on_seed_and_question_alone():
    student = list(itertools.chain.from_iterable(many(f"q{i}", "S", 9, 9) for i in range(20)))
    teacher = list(itertools.chain.from_iterable(many(f"q{i}", "T", 9, 0) for i in range(20)))
    drawn = make_triples(student, teacher, max_triples=3, seed=7)
    assert drawn == make_triples(student, teacher, max_triples=3, seed=7)
    assert drawn != make_triples(student, teacher, max_triples=3, seed=8)
    of_one = [triple for triple in drawn if triple["question_id"] == "q5"]
    assert of_one == make_triples(many("q5", "S", 9, 9), many("q5", "T", 9, 0), max_triples=3, seed=7)


def test_draw_is_uniform():
    counts = Counter()
    for seed in range(3000):
        drawn = make_triples(many("q", "S", 6, 6), many("q", "T", 6, 0), max_triples=2, seed=seed)
        counts.update(triple["student_negative"] for triple in drawn)
    assert all(abs(count - 1000) < 130 for count in counts.values()), counts
    assert len(counts) == 6


def test_identical_texts_count_once_unless_asked_otherwise():
    student = [row("q", "same", "correct", i) for i in range(5)] + [
        row("q", f"w{i}", "incorrect", i) for i in range(5)
    ]
    teacher = many("q", "T", 5, 0)
    assert len(make_triples(student, teacher, max_triples=9, seed=0)) == 1
    assert len(make_triples(student, teacher, max_triples=9, seed=0, deduplicate=False)) == 5


def test_student_alone_and_teacher_alone():
    student, teacher = many("q", "S", 4, 3), many("q", "T", 2, 5)
    alone = make_triples(student, teacher, max_triples=9, seed=0, source="student")
    assert len(alone) == 3, "the teacher's answers set no limit"
    assert all(triple["teacher_positive"] is None and triple["student_positive"] for triple in alone)
    taught = make_triples(student, teacher, max_triples=9, seed=0, source="teacher")
    assert len(taught) == 2
    assert all(triple["student_positive"] is None for triple in taught)
    assert all(triple["teacher_negative"].startswith("T wrong") for triple in taught)
    with pytest.raises(HFDistillError, match="both, student, teacher"):
        make_triples(student, teacher, max_triples=9, seed=0, source="neither")


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0])
def test_teacher_per_pair(ratio):
    student = list(itertools.chain.from_iterable(many(f"q{i}", "S", 2, 2) for i in range(400)))
    teacher = list(itertools.chain.from_iterable(many(f"q{i}", "T", 6, 0) for i in range(400)))
    counts = count_triples(make_triples(student, teacher, max_triples=2, seed=0, teacher_per_pair=ratio))
    assert counts["student_negative"] == 800
    assert counts["teacher_positive"] == pytest.approx(800 * ratio, rel=0.1)


def test_order_of_rows_within_a_question_is_the_only_order_that_matters():
    rows = many("a", "S", 4, 4) + many("b", "S", 4, 4)
    teacher = many("a", "T", 4, 0) + many("b", "T", 4, 0)
    mixed = sorted(rows, key=lambda r: random.Random(r["response"]).random())
    mixed.sort(key=lambda r: rows.index(r) if r["question_id"] == "a" else 100 + rows.index(r))
    assert make_triples(rows, teacher, max_triples=2, seed=0) == make_triples(mixed, teacher, max_triples=2, seed=0)
