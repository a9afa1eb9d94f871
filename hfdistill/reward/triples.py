"""What the reward model learns from: the student's right and wrong answers beside the teacher's right ones (Eq. 3)."""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ..errors import HFDistillError
from ..rows import ROLES
from .pairs import matched_pairs


SOURCES = ("both", "student", "teacher")

Row = Mapping[str, Any]


def student_failures(responses: Iterable[Row]) -> list[str]:
    """D_S (Eq. 3): the questions with a pseudo-label that the student answered wrongly at least once.

    Their ids, in the order of the student's responses. One without an extractable answer is a wrong one; questions of
    D_fail have no labels and never appear.
    """
    return list(dict.fromkeys(row["question_id"] for row in responses if row["label"] == "incorrect"))


def make_triples(
    student: Iterable[Row],
    teacher: Iterable[Row],
    *,
    max_triples: int,
    seed: int,
    source: str = "both",
    teacher_per_pair: float = 1.0,
    deduplicate: bool = True,
    pairs: str = "uniform",
    balance: bool = False,
) -> list[dict[str, Any]]:
    """Draw D_R from the student's and the teacher's responses, for each question of D_S.

    A question gives k = min(available S+, S-, T+, `max_triples`) triples, each role drawn uniformly without
    replacement. Without a right student answer it gives none. The draw of a question depends on the seed and its id
    alone, not on what other questions there are.

    Args:
        source (`str`, *optional*, defaults to `"both"`): `"student"` leaves the teacher's responses out, `"teacher"`
            pairs the teacher's right and wrong responses (Table 4).
        teacher_per_pair (`float`, *optional*, defaults to 1.0): the teacher's right responses for each pair of the
            student's (Fig. 6). Below 1, some triples have none; above 1, further ones are set against the same right
            student responses.
        deduplicate (`bool`, *optional*, defaults to `True`): count identical texts in a role once.
        pairs (`str`, *optional*, defaults to `"uniform"`), balance (`bool`, *optional*, defaults to `False`): which of
            the student's wrong responses stands beside which right one: any, or the nearest (`"near"`), of as many
            lines; see [`~hfdistill.reward.pairs.matched_pairs`].

    Returns:
        `list[dict]`: for each role a column with the text, `{role}_id`, `{role}_finished` and `{role}_token_ids` (of
            a response that was sampled here), `None` where the role is empty; and `question_id`, `question`. In the
            order of the student's questions.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: for a source that does not exist.
    """
    if source not in SOURCES:
        raise HFDistillError(f"reward.source is {source!r}: it must be one of {', '.join(SOURCES)}")
    student = list(student)
    pools: dict[str, dict[str, list[Row]]] = defaultdict(lambda: {role: [] for role in ROLES})
    _fill(pools, student, ROLES[:2], deduplicate)
    _fill(pools, teacher, ROLES[2:], deduplicate)
    triples, harder = [], balance or pairs != "uniform"
    for question_id in student_failures(student):
        rng = random.Random(f"triples {seed} {question_id}")
        match = partial(matched_pairs, rng=rng, near=pairs == "near", balance=balance) if harder else None
        triples += _draw(pools[question_id], rng, max_triples, source, teacher_per_pair, match)
    return triples


def _fill(
    pools: dict[str, dict[str, list[Row]]], rows: Iterable[Row], roles: tuple[str, ...], deduplicate: bool
) -> None:
    """Put responses into the right and the wrong role of their question."""
    seen = set()
    for row in rows:
        if row["label"] is None:
            continue
        role = roles[0] if row["label"] == "correct" else roles[1]
        key = (row["question_id"], role, row["response"])
        if deduplicate and key in seen:
            continue
        seen.add(key)
        pools[row["question_id"]][role].append(row)


def _draw(
    pool: dict[str, list[Row]],
    rng: random.Random,
    max_triples: int,
    source: str,
    teacher_per_pair: float,
    match: Callable[..., list[tuple[Row, Row]]] | None,
) -> list[dict[str, Any]]:
    right, wrong, taught, taught_wrong = (pool[role] for role in ROLES)
    if source == "teacher":
        k = min(len(taught), len(taught_wrong), max_triples)
        pairs = zip(rng.sample(taught, k), rng.sample(taught_wrong, k), strict=True)
        return [_triple(teacher_positive=good, teacher_negative=bad) for good, bad in pairs]
    per_pair = 0.0 if source == "student" else teacher_per_pair
    most = min(max_triples, math.floor(len(taught) / per_pair)) if per_pair > 0 else max_triples
    if match is None:
        k = min(len(right), len(wrong), most)
        right, wrong = rng.sample(right, k), rng.sample(wrong, k)
    else:
        drawn = match(right, wrong, most)
        k, right, wrong = len(drawn), [good for good, _ in drawn], [bad for _, bad in drawn]
    # Rounded up or down by chance, so that a ratio such as 0.5 holds over questions of one triple each.
    taught = rng.sample(taught, min(len(taught), math.floor(per_pair * k + rng.random())))
    triples = [
        _triple(student_positive=good, student_negative=bad, teacher_positive=best)
        for good, bad, best in itertools.zip_longest(right, wrong, taught[:k])
    ]
    further = [_triple(student_positive=right[i % k], teacher_positive=row) for i, row in enumerate(taught[k:])]
    return triples + further


def _triple(**responses: Row | None) -> dict[str, Any]:
    first = next(row for row in responses.values() if row is not None)
    triple: dict[str, Any] = {"question_id": first["question_id"], "question": first["question"]}
    for role in ROLES:
        row = responses.get(role)
        triple[role] = None if row is None else row["response"]
        triple[f"{role}_id"] = None if row is None else response_id(role.partition("_")[0], row)
        triple[f"{role}_finished"] = None if row is None else row["finish_reason"] != "length"
        triple[f"{role}_token_ids"] = None if row is None else row.get("token_ids")
    return triple


def response_id(speaker: str, row: Row) -> str:
    """Name of a response: who answered what, at which temperature, and which sample it is."""
    temperature = "unknown" if row["temperature"] is None else f"{row['temperature']:g}"
    return f"{speaker}/{row['question_id']}/{temperature}/{row['sample']}"


def count_triples(triples: Sequence[Row]) -> dict[str, int]:
    """How many triples, questions behind them, and responses in each role there are, for the card."""
    counts = {role: sum(triple[role] is not None for triple in triples) for role in ROLES}
    return {"triples": len(triples), "questions": len({triple["question_id"] for triple in triples}), **counts}
