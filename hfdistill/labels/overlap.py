"""Whether questions of an evaluation set stand in the training set: word for word, or by runs of eight words."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..tasks.base import Question


WORDS = 8
WORD = re.compile(r"\w+")


def overlap(training: Iterable[Question], evaluation: Sequence[Question]) -> dict[str, Any]:
    """Compares two sets of questions, letter case and punctuation apart.

    A shared run of eight words is often a phrase that many questions have ("how many more does he need to"), so the
    figure that counts is how much of a question is covered: the share of its runs that occur in the training set.

    Args:
        training (`Iterable[Question]`), evaluation (`Sequence[Question]`): the two sets.

    Returns:
        `dict`: `questions`, `exact` (equal questions), `copied` (half of its runs or more), `any` (at least one
        shared run), `mean_share`, and `listed`, the ids and shares of the 20 most copied ones.
    """
    exact: set[str] = set()
    grams: set[int] = set()
    for question in training:
        tokens = tokens_of(question.question)
        exact.add(" ".join(tokens))
        grams.update(runs(tokens))
    equal = 0
    shares: list[tuple[float, str]] = []
    for question in evaluation:
        tokens = tokens_of(question.question)
        equal += " ".join(tokens) in exact
        own = set(runs(tokens))
        share = sum(run in grams for run in own) / len(own) if own else 0.0
        if share:
            shares.append((share, question.question_id))
    shares.sort(key=lambda pair: (-pair[0], pair[1]))
    copied = [pair for pair in shares if pair[0] >= 0.5]
    return {
        "questions": len(evaluation),
        "exact": equal,
        "copied": len(copied),
        "any": len(shares),
        "mean_share": sum(share for share, _ in shares) / len(evaluation) if evaluation else 0.0,
        "listed": [{"question_id": identity, "share": round(share, 4)} for share, identity in copied[:20]],
    }


def tokens_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return WORD.findall(text.casefold())


def runs(tokens: list[str]) -> Iterator[int]:
    """A 64-bit hash of each run of `WORDS` words; of the whole where there are fewer."""
    for start in range(max(1, len(tokens) - WORDS + 1) if tokens else 0):
        yield hash(tuple(tokens[start : start + WORDS]))


def overlap_line(figures: dict[str, Any], name: str) -> str:
    """The finding as a sentence for cards and terminals."""
    return (
        f"{name}: {figures['exact']} of {figures['questions']:,} questions stand in the training set word for word, "
        f"{figures['copied']} share half or more of their runs of {WORDS} words with it, {figures['any']} at least one"
    )
