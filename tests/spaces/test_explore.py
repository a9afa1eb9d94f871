"""Explore on a made dataset whose answers are known one by one."""

import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.kinds import RESULTS
from hfdistill.rows import write_rows
from hfdistill.space import explore
from hfdistill.space.filters import Look, chosen
from hfdistill.space.results import StoredAnswers


ROWS = ("Teacher", "ICL", "Ours w/o R", "Ours")
# For each question who is right, in the order of the rows; a dash gave no answer.
RIGHT = ["1111", "0001", "1010", "1100", "000-", "0101"]


def answers(patterns=RIGHT, task="sums"):
    for place, row in enumerate(ROWS):
        for number, pattern in enumerate(patterns):
            right = pattern[place] == "1"
            yield {
                "task": task,
                "row": row,
                "question_id": f"q{number}",
                "question": f"What is {number} and 1? <b>",
                "response": f"{row} says {number}.",
                "answer": None if pattern[place] == "-" else str(number + right),
                "gold": str(number + 1),
                "correct": right,
                "category": ("easy", "hard")[number % 2],
                "tokens": 10 * number + place,
                "finish_reason": "length" if pattern[place] == "-" else "eos_token",
                "score": (1.0 if right else -1.0) if number != 3 else (-1.0 if right else 1.0),
            }


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> StoredAnswers:
    folder = tmp_path_factory.mktemp("results")
    write_rows(folder, RESULTS, "responses", [*answers(), *answers(["1111"], "others")])
    return StoredAnswers(folder)


@pytest.fixture(scope="module")
def shown(stored):
    return SimpleNamespace(
        results=stored, task_name="sums", votes={}, same=str.__eq__, reward_variant="min", manifests={},
        other_rewards=None,
    )  # fmt: skip


def held(stored, **view):
    return [int(number) for number in chosen(Look.read(view, stored), stored)]


@pytest.mark.parametrize(
    ("view", "numbers"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"filter": "passed"}, [1, 5]),
        ({"filter": "lost"}, [2, 3]),
        ({"filter": "misjudged"}, [3]),
        ({"filter": "unanswered"}, [4]),
        ({"category": "hard", "filter": "lost"}, [3]),
        ({"length": "long"}, [4, 5]),
        ({"length": "middle"}, [2, 3]),
        ({"search": "IS 5 and"}, [5]),
        ({"search": ".*"}, []),
        ({"task": "others"}, [0]),
        ({"filter": "nonsense", "task": "none", "length": 3}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_what_each_filter_holds(stored, view, numbers):
    assert held(stored, **view) == numbers


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=25, deadline=None)
@given(view=st.dictionaries(st.sampled_from([*Look.__dataclass_fields__, "x"]), ANY, max_size=5) | ANY)
def test_whatever_an_address_says_is_a_view(shown, view):
    explore.table(shown, view)
    explore.question(shown, view)


def test_a_question_opens_with_every_answer_and_its_neighbours(shown):
    html = explore.question(shown, {"filter": "lost", "question": "q3"})
    for row in ROWS:
        assert f"{row} says 3." in html
    assert html.count("✓ right") == 2
    assert html.count("✗ wrong") == 2
    assert "there is no vote to compare with" in html
    assert 'data-question="q2"' in html
    assert "&lt;b&gt;" in html
    assert "<b>?" not in html
    assert "was cut off at the length limit" in explore.question(shown, {"question": "q4"})
    assert "no such question" in explore.question(shown, {"question": "nowhere"})


def test_the_list_has_a_page_after_another(shown):
    html = explore.table(shown, {"list_page": 7})
    assert html.count("data-question") == len(RIGHT)
    assert "6 of 6 questions" in html
    assert "No question is like that" in explore.table(shown, {"search": "elephants"})


def test_pictures_count_what_is_stored(shown):
    html = explore.pictures(shown, {})
    right = sum(pattern.count("1") for pattern in RIGHT)
    assert f"{right} right answers" in html
    assert f"{4 * len(RIGHT) - 1 - right} wrong ones" in html
    assert "easy" in html
    assert html.index("−1.00 to −1.00") < html.index("+1.00 to +1.00")


def test_a_row_out_of_ten_thousand_opens_at_once(tmp_path, shown):
    """Reading one answer costs the same, wherever it stands; 100 ms is the limit on an idle machine."""
    write_rows(tmp_path, RESULTS, "responses", answers(RIGHT * 1700))
    began = time.process_time()
    many = SimpleNamespace(**{**vars(shown), "results": StoredAnswers(tmp_path)})
    first = explore.explore(many, {})
    assert time.process_time() - began < 3
    assert len(first) < 150_000
    began = time.process_time()
    for number in (9, 5000, 10_000):
        explore.question(many, {"question": f"q{number}"})
    assert time.process_time() - began < 0.3


def test_an_older_dataset_without_scores_and_options_is_shown(tmp_path, shown):
    columns = ("task", "row", "question_id", "question", "response", "answer", "gold", "correct", "category")
    write_rows(tmp_path, RESULTS, "responses", answers(), columns)
    old = SimpleNamespace(**{**vars(shown), "results": StoredAnswers(tmp_path)})
    assert "was not asked about these answers" in explore.question(old, {"question": "q1"})
    assert "was not asked about these answers" in explore.pictures(old, {})
    assert held(old.results, filter="misjudged") == []
