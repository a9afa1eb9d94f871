"""What a run came to, in one sentence that a layman reads."""

from collections.abc import Mapping
from typing import Any

from ..evaluation.paper_rows import BASE, OURS, TEACHER, WITHOUT_REWARD


def in_one_sentence(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """What the accuracies of a task say of teacher and student.

    Args:
        rows (`Mapping[str, Mapping]`): by name of the row, `value`, `low`, `high` and `n`.
    """
    teacher, base, warm, ours = (rows.get(row.name) for row in (TEACHER, BASE, WITHOUT_REWARD, OURS))
    if ours is None:
        return "This run has no result of its student yet."
    steps = [
        f"{_of_100(base)} right at first" if base else "",
        f"{_of_100(warm)} after imitating the teacher" if warm else "",
    ]
    way = ", ".join([*filter(None, steps), f"{_of_100(ours)} after practising with the reward model"])
    said = f"Of 100 test questions the student answers {way}."
    if teacher is None:
        return said
    if ours["low"] > teacher["high"]:
        return f"{said} It passes its teacher, which gets {_of_100(teacher)}."
    if ours["high"] < teacher["low"]:
        return f"{said} It stays below its teacher, which gets {_of_100(teacher)}."
    return f"{said} Its teacher gets {_of_100(teacher)}: {ours['n']:,} questions are too few to tell the two apart."


def _of_100(row: Mapping[str, Any]) -> str:
    return f"{100 * row['value']:.1f}".removesuffix(".0")
