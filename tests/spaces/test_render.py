import asyncio
import re

import pytest

from hfdistill.labels.vote import Vote
from hfdistill.space import render
from hfdistill.space.compare import Column, Comparison, compare
from hfdistill.space.models import ShownAnswer
from hfdistill.space.verdict import in_one_sentence
from hfdistill.tasks import Question


def comparison(vote=None, gold=None, variant="min", samples=(), text="How many?"):
    column = Column("policy", "Student after reward", "practised", "me/run-policy@abc", "done", "", list(samples))
    return Comparison(Question("q", text, "train"), vote, gold, [column], "done", "", variant)


def sample(answer, score, reward):
    return ShownAnswer(
        "The answer.", answer, None if answer else "nothing announces a final answer", True, score, reward
    )


VOTE = Vote("12", 0.9, 18, 20)


@pytest.mark.parametrize(
    ("vote", "variant", "shown", "words"),
    [
        (VOTE, "min", sample("12", 0.5, 0.5), "reward +0.50: agrees with the vote"),
        (VOTE, "min", sample("13", 0.5, 0.0), "reward 0: differs from the vote, so never more than 0"),
        (VOTE, "minus", sample("13", 0.5, -0.5), "reward −0.50: differs from the vote, so the score less 1"),
        (VOTE, "min", sample(None, 0.5, -5.0), "reward −5.00: no final answer"),
        (None, "min", sample("13", 0.5, 0.5), "reward +0.50: there is no vote to compare with"),
        (Vote(None, 0.4, 8, 20), "min", sample("13", 0.5, 0.5), "reward +0.50: there is no vote"),
    ],
)
def test_each_case_of_eq_7_is_explained(run, vote, variant, shown, words):
    now = comparison(vote, variant=variant, samples=[shown])
    assert render.why(run, now, shown).startswith(words)
    assert words in render.comparison(run, now)


def test_bars_share_an_axis_and_the_penalty_does_not_squeeze_them(run):
    now = comparison(VOTE, samples=[sample("12", 1.0, 1.0), sample("11", -0.5, -0.5), sample(None, 0.2, -5.0)])
    html = render.comparison(run, now)
    widths = [float(width) for width in re.findall(r'class="hfd-score[^>]*width:([\d.]+)%', html)]
    assert widths[0] == pytest.approx(2 * widths[2], abs=0.05)
    assert html.count("is-beyond") == 1


def test_axis_holds_zero_and_all_values():
    for values in ([], [0.0], [1.0, 2.0], [-3.0, -1.0], [-1.0, 4.0]):
        low, high = render.bar_range(values)
        assert low < min([0.0, *values]) <= max([0.0, *values]) < high


def test_verdicts(run):
    assert render.verdict(run, comparison(gold="12"), sample("12", 0.5, 0.5))["words"] == "✓ right"
    assert render.verdict(run, comparison(VOTE, gold="11"), sample("12", 0.5, 0.5))["words"] == "✗ wrong"
    assert render.verdict(run, comparison(VOTE), sample("12.0", 0.5, 0.5)) is not None
    assert render.verdict(run, comparison(VOTE), sample("13", 0.5, 0.5))["words"] == "✗ not as the vote"
    assert render.verdict(run, comparison(), sample("13", 0.5, 0.5)) is None


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ((0.5, 0.45, 0.55), "It passes its teacher, which gets 50."),
        ((0.95, 0.93, 0.97), "It stays below its teacher, which gets 95."),
        ((0.81, 0.7, 0.9), "Its teacher gets 81: 200 questions are too few to tell the two apart."),
    ],
)
def test_a_run_in_one_sentence(teacher, words):
    def row(value, low, high):
        return {"value": value, "low": low, "high": high, "n": 200}

    rows = {"Teacher": row(*teacher), "ICL": row(0.02, 0.0, 0.04), "Ours": row(0.8, 0.75, 0.85)}
    said = in_one_sentence(rows)
    assert said.startswith("Of 100 test questions the student answers 2 right at first, 80 after practising")
    assert said.endswith(words)
    assert "no result" in in_one_sentence({})


def test_nothing_a_visitor_or_a_model_writes_becomes_html(run):
    nasty = "<script>alert(1)</script>"
    now = comparison(VOTE, samples=[ShownAnswer(nasty, nasty, None, True, 0.1, 0.1)], text=nasty)
    now.unknown_words = [nasty]
    html = render.comparison(run, now) + render.notice(nasty)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 6


def test_every_stage_of_a_comparison_can_be_shown(run, models):
    async def look():
        async for now in compare(run, models, run.examples()["train"][2].question, temperature=0.7, samples=2):
            html = render.comparison(run, now)
            assert html.count('class="hfd-card hfd-') == 4
        return html

    html = asyncio.run(look())
    assert html.count("weighted by the reward model") == 3


def test_samples_are_ranked_and_vote_once_alike_and_once_weighted(run):
    column = Column("policy", "Student", "", "", "done", "", [
        sample("3", -4.0, -4.0), sample("3", -4.0, -4.0), sample("5", 3.0, 3.0), sample(None, 4.0, -5.0)
    ])  # fmt: skip
    assert [each.score for each in render.ranked(column)] == [4.0, 3.0, -4.0, -4.0]
    assert render.ballots(column, run.same) == {"majority": "3", "weighted": "5"}


def test_the_page_of_the_run(run):
    html = render.run_page(run)
    rows = ("the large model", "seen nothing of the teacher", "majority answers", "then practised with the reward")
    order = [html.index(words) for words in rows]
    assert order == sorted(order)
    assert "80.0 %" in html
    assert "Ours minus Ours w/o R, on the same questions" in html
    assert html.count("data:image/png;base64,") == 1
    assert "not there, or not to be read from here" in html
    assert "/" not in html.partition("Where everything is")[2].partition("tiny-policy")[0].rpartition("<code>")[2]
    assert "pos neg" in html
    assert "<b>Accuracy word problems</b><br>Accuracies on held-out questions, with every answer" in html
    assert "The student after reward: refined by PPO against the reward model" in html
    assert "tiny-policy" in html
    assert "teacher" in render.intro(run)


def test_the_reward_model_is_no_oracle(run):
    now = comparison(VOTE, samples=[sample("12", 1.0, 1.0)])
    assert "in\n    75 of 100 cases" in render.comparison(run, now)
