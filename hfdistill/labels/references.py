"""What answers to validation questions are compared with when a checkpoint is chosen: pseudo-labels, or golds."""

from collections.abc import Iterable, Mapping
from typing import Any


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
