"""What a visitor asks while the last question is being answered."""

import asyncio
from types import SimpleNamespace

from hfdistill.space.allowance import Allowance
from hfdistill.space.app import NO_NOTICE, Page
from hfdistill.space.settings import Settings


def test_a_question_too_many_leaves_the_one_before_alone(run, tiny):
    page, visitor = Page(Settings(tiny, stored_only=True)), SimpleNamespace(session_hash="visitor")
    page.allowance = Allowance(most=1, clock=lambda: 0.0)

    async def visit():
        first = page.ask(run.examples()["test"][0].question, 0, 1, visitor)
        shown = [await anext(first)]
        refused = [update async for update in page.ask("And this one?", 0, 1, visitor)]
        return refused, shown + [update async for update in first]

    [(refusal, answers)], shown = asyncio.run(visit())
    assert "You asked 1 questions" in refusal["value"]
    assert "value" not in answers
    notices, comparisons = zip(*shown, strict=True)
    assert notices[0] == NO_NOTICE
    assert NO_NOTICE not in notices[1:]  # so that the refusal can be read
    assert "hfd-scores is-absent" in comparisons[-1]
