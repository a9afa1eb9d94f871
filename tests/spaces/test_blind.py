import random

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.space import render
from hfdistill.space.blind import VERDICTS, Pair, draw_pair, open_ledger, tally


ROWS = ("Teacher", "ICL", "Ours w/o R", "Ours")


def test_pairs_differ_and_either_may_be_first(run):
    rng = random.Random(0)
    pairs = [draw_pair(run.results, ROWS, rng) for _ in range(60)]
    assert all(pair.responses[0] != pair.responses[1] for pair in pairs)
    assert {pair.rows for pair in pairs} & {pair.rows[::-1] for pair in pairs}


def test_names_are_hidden_until_a_vote(run):
    pair = draw_pair(run.results, ROWS, random.Random(1))
    before = render.blind(run, pair, None, [], False)
    after = render.blind(run, pair, VERDICTS["a"], [(pair, "a")], False)
    for title in ("Teacher", "Student"):
        assert title not in before
    assert "You said: A is better" in after
    assert "✓ right" in after or "✗ wrong" in after
    assert "right" not in before
    assert "kept in this visit alone" in after


def test_votes_are_counted():
    pair = Pair("t", 0, "q", ("Teacher", "Ours"), ("x", "y"), (True, False))
    counts = tally([(pair, "a"), (pair, "b"), (pair, "b"), (pair, "tie"), (pair, "bad")])
    assert dict(counts["Ours"]) == {"lost": 1, "won": 2, "tied": 1, "bad": 1}


def test_alike_answers_are_no_pair(run):
    with pytest.raises(HFDistillError, match="no two different answers"):
        draw_pair(run.results, ROWS[:1], random.Random(0))


def test_without_a_token_votes_stay_in_the_visit():
    assert open_ledger("me/votes", None) is None
    assert open_ledger(None, "hf_token") is None
