"""What answers to validation questions are compared with when a checkpoint is chosen: pseudo-labels, or golds."""

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..kinds import LABELS
from ..rows import read_rows


def validation_references(
    asked: Iterable[Mapping[str, Any]], golds: Iterable[Mapping[str, Any]] | None = None, limit: int | None = None
) -> dict[str, str]:
    """The canonical answers that a model is validated against.

    Args:
        asked (`Iterable[Mapping]`): rows of the labels' config `questions`.
        golds (`Iterable[Mapping]`, *optional*): rows of their config `gold`; with them, gold answers stand in for the
            pseudo-labels.
        limit (`int`, *optional*): most questions.

    Returns:
        `dict[str, str]`: by question id, for validation questions that have one, in the order of the rows.
    """
    answers = {row["question_id"]: row["pseudo_label"] for row in asked if row["split"] == "validation"}
    if golds is not None:
        by_id = {row["question_id"]: row["gold"] for row in golds}
        answers = {question_id: by_id.get(question_id) for question_id in answers}
    return dict([(question_id, answer) for question_id, answer in answers.items() if answer is not None][:limit])


def has_golds(folder: str | Path) -> bool:
    """Whether a labelled dataset has the config `gold`."""
    return any((Path(folder) / "gold").glob("*.parquet"))


def golds_of(folder: str | Path) -> dict[str, str]:
    """Gold answers of a labelled dataset by question id; none where it has none."""
    return {row["question_id"]: row["gold"] for row in read_rows(folder, "gold")} if has_golds(folder) else {}


def read_golds(folder: str | Path, option: str) -> dict[str, str]:
    """The gold answers of labels by question id, for an option that asks for them by name.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the labels have none.
    """
    if not has_golds(folder):
        raise HFDistillError(
            f"{option} asks for gold answers, and the {LABELS.name} in {folder} have none, as their task had none: "
            "leave it out"
        )
    return golds_of(folder)


def with_bought_golds(
    asked: Sequence[Mapping[str, Any]], golds: Mapping[str, str], number: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of the labels' config `questions`, in which so many validation questions without a pseudo-label, drawn
    at random, have their gold answer in its place; all of them, if they are fewer.

    Args:
        asked (`Sequence[Mapping]`): the rows.
        golds (`Mapping[str, str]`): gold answers by question id.
        number (`int`): of gold answers.
        seed (`int`): of the draw.
    """
    failed = sorted(
        row["question_id"]
        for row in asked
        if row["split"] == "validation" and row["pseudo_label"] is None and row["question_id"] in golds
    )
    bought = set(random.Random(seed).sample(failed, min(number, len(failed))))
    return [
        {**row, "pseudo_label": golds[row["question_id"]]} if row["question_id"] in bought else dict(row)
        for row in asked
    ]
