"""Harder pairs: which wrong response stands beside which right one to the same question."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


PAIRS = ("uniform", "near")

Row = Mapping[str, Any]


def matched_pairs(
    right: Sequence[Row], wrong: Sequence[Row], most: int, rng: random.Random, *, near: bool, balance: bool
) -> list[tuple[Row, Row]]:
    """Draw pairs of a right and a wrong response, each response once.

    Args:
        right (`Sequence[Row]`), wrong (`Sequence[Row]`): responses to one question.
        most (`int`): pairs at most.
        rng (`random.Random`): decides the draw.
        near (`bool`): put beside each right response the wrong one that differs least, see [`nearest`].
        balance (`bool`): pair responses of as many lines alone. Where steps are lines, neither their number nor a
            style with longer steps then tells right from wrong, and what is left to learn is what the steps say.
    """
    strata: dict[int, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for side, rows in enumerate((right, wrong)):
        for row in rows:
            strata[len(row["response"].strip().splitlines()) if balance else 0][side].append(row)
    pairs: list[tuple[Row, Row]] = []
    for good, bad in strata.values():
        k = min(len(good), len(bad), most)
        good = rng.sample(good, k)
        pairs += zip(good, nearest(good, bad) if near else rng.sample(bad, k), strict=True)
    return rng.sample(pairs, min(len(pairs), most))


def nearest(right: Sequence[Row], wrong: Sequence[Row]) -> list[Row]:
    """For each right response in turn the wrong one, of those not yet taken, with the least [`edit_distances`]."""
    left, taken = list(wrong), []
    for row in right:
        distances = edit_distances(_tokens(row), [_tokens(other) for other in left])
        taken.append(left.pop(int(np.argmin(distances))))
    return taken


def edit_distances(tokens: Sequence[Any], others: Sequence[Sequence[Any]]) -> np.ndarray:
    """Levenshtein's distance of a sequence to each of some others, `(others,)`: how many tokens must be put in, taken
    out or replaced.
    """
    number: dict[Any, int] = {}
    rows = [[number.setdefault(token, len(number)) for token in row] for row in others]
    longest = max(map(len, rows))
    table = np.array([row + [-1] * (longest - len(row)) for row in rows]).reshape(len(rows), longest)
    steps = np.arange(longest + 1)
    before = np.repeat(steps[None], len(rows), 0)
    for index, token in enumerate(tokens, start=1):
        replaced = before[:, :-1] + (table != number.get(token, -2))
        now = np.minimum(before + 1, np.column_stack([np.full(len(rows), index), replaced]))
        # What is put in costs 1 for each column to the right.
        before = np.minimum.accumulate(now - steps, 1) + steps
    return before[np.arange(len(rows)), [len(row) for row in rows]]


def _tokens(row: Row) -> Sequence[Any]:
    return row.get("token_ids") or row["response"].split()
