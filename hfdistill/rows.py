"""Rows of an artifact's Parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import HFDistillError
from .tasks.base import Question, Task


def read_rows(folder: Path, config: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Read the rows of one config of a dataset, in the order in which they were written.

    Args:
        folder (`Path`): the dataset's files, see [`~hfdistill.artifacts.store.Artifact`].
        config (`str`): name of the config, which is a folder of Parquet files.
        columns (`Sequence[str]`, *optional*): columns to read; all by default.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the dataset has no such config or not these columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted((Path(folder) / config).glob("*.parquet"))
    if not files:
        raise HFDistillError(f"{folder} has no config {config!r}: it is not the dataset that this stage reads")
    missing = sorted(set(columns or ()) - set(pq.read_schema(files[0]).names))
    if missing:
        raise HFDistillError(f"config {config!r} of {folder} has no column {missing[0]!r}")
    return pa.concat_tables([pq.read_table(file, columns=columns) for file in files]).to_pylist()


def known_questions(asked: Sequence[dict[str, Any]], task: Task) -> dict[str, Question]:
    """The task's questions that a dataset's rows are about, by id and in the order of the rows.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if a row is about a question that the task does not have, or that has
            another text there.
    """
    known = {question.question_id: question for question in task.questions()}
    for row in asked:
        question = known.get(row["question_id"])
        if question is None or question.question != row["question"]:
            raise HFDistillError(
                f"question {row['question_id']!r} of the dataset is unknown to the task: the section `task` must be "
                "the one that the dataset was made with"
            )
    return {row["question_id"]: known[row["question_id"]] for row in asked}
