"""What a run costs where its server tells no tokens."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from hfdistill.errors import HFDistillError
from hfdistill.sections import TeacherConfig
from hfdistill.teacher.budget import Budget
from hfdistill.teacher.counting import BY_BYTES, BY_TOKENIZER, TokenCounter
from hfdistill.teacher.journal import Journal
from hfdistill.teacher.protocols import Completion


sys.path.insert(0, str(Path(__file__).parent))
from asking import ask


DEAR = {"input_price": 1.0, "output_price": 1.0}


@pytest.fixture
def teacher(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    (tmp_path / "teacher").mkdir()
    tokenizer.save(str(tmp_path / "teacher" / "tokenizer.json"))
    return str(tmp_path / "teacher")


def test_the_teachers_own_tokenizer_counts(teacher, capsys):
    counter = TokenCounter(teacher, 64)
    counted = counter.counted("one two three", Completion("four five", "stop", None, None))
    assert (counted.completion_tokens, counted.counted_by) == (3, BY_TOKENIZER)  # and the one that ends it
    assert 3 <= counted.prompt_tokens <= 20
    assert counter.counted("one", Completion("x", "stop", 7, None)).prompt_tokens == 7
    assert capsys.readouterr().err.count("counts them") == 1


@given(st.text(), st.text())
def test_bytes_are_a_bound_up_to_the_longest_response(prompt, said):
    counter = TokenCounter("no/such", 64)
    counter._by = BY_BYTES
    counted = counter.counted([{"role": "user", "content": prompt}], Completion(said, "stop", None, None))
    assert counted.prompt_tokens >= len(prompt)
    assert min(len(said), 64) <= counted.completion_tokens <= 64
    assert counter.counted("", Completion("", "length", None, None)).completion_tokens == 64


def test_what_is_told_is_left_as_it_is():
    completion = Completion("4", "stop", 3, 1)
    assert TokenCounter("no/such", 64).counted("x", completion) is completion


def test_max_cost_holds_without_usage_and_over_several_calls(tmp_path, stand_in, teacher):
    endpoint = stand_in(kind="openai", odd="no_usage", model=teacher)
    for most in (0.003, 0.005):
        with pytest.raises(HFDistillError, match=r"stopped at the limit of teacher.max_requests or teacher.max_cost"):
            ask(tmp_path, endpoint.url, questions=40, model=teacher, max_cost=most, **DEAR)
        with Journal(tmp_path / "journal.sqlite") as journal:
            assert 0.8 * most < Budget(journal, TeacherConfig(teacher, **DEAR), 0).cost <= most
            assert {row.counted_by for row in journal.rows()} == {BY_TOKENIZER}


def test_what_would_cost_more_than_may_be_spent_is_not_asked(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", odd="no_usage")
    with pytest.raises(HFDistillError, match="teacher.max_cost"):
        ask(tmp_path, endpoint.url, max_cost=0.00001, **DEAR)
    assert endpoint.control()["answered"] == 0
