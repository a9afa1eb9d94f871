"""Rows of the datasets that a run makes: their columns, Parquet in and out, and the questions that they are about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import HFDistillError


if TYPE_CHECKING:
    import pyarrow

    from .kinds import Kind
    from .tasks.base import Question, Task

# Texts of a triple, in the order of the reward model's scores. A triple of the paper has the first three; the last
# takes part only where the reward model learns from the teacher alone. `CORRECT` says which are right answers.
ROLES = ("student_positive", "student_negative", "teacher_positive", "teacher_negative")
CORRECT = (True, False, True, False)


def _columns(words: str) -> dict[str, str]:
    """Columns as `name` or `name:type`; a type that is not said is a string."""
    return {name: kind or "string" for name, _, kind in (word.partition(":") for word in words.split())}


RESPONSE_COLUMNS = _columns(
    "question_id question response answer temperature:float64 sample:int64 seed:int64 confidence label finish_reason "
    "prompt_tokens:int64 completion_tokens:int64 model endpoint_kind thought"
)
# The ids that a local model sampled, its end token included: read back from the text, some would be others.
TOKEN_IDS = {"token_ids": "ids"}
# Columns with their types, by kind of dataset and config.
COLUMNS: dict[str, dict[str, dict[str, str]]] = {
    "labels": {
        "responses": RESPONSE_COLUMNS,
        "questions": _columns(
            "question_id question split category options:texts pseudo_label vote_share:float64 votes:int64 "
            "voters:int64 failed:bool"
        ),
        "gold": _columns("question_id gold"),
    },
    "triples": {
        "responses": {**RESPONSE_COLUMNS, **TOKEN_IDS},
        "triples": _columns(
            "question_id question split "
            + " ".join(f"{role} {role}_id {role}_finished:bool {role}_token_ids:ids" for role in ROLES)
        ),
    },
    "results": {
        "results": _columns(
            "task row value:float64 low:float64 high:float64 n:int64 answerable:float64 answerable_low:float64 "
            "answerable_high:float64 answerable_n:int64 no_answer:float64 mean_tokens:float64 undecided:float64"
        ),
        "responses": _columns(
            "task row question_id question response answer gold correct:bool category tokens:int64 finish_reason "
            "score:float64 options:texts"
        ),
        "samples": _columns(
            "task row question_id sample:int64 response answer correct:bool score:float64 tokens:int64 finish_reason"
        ),
    },
}


def write_rows(
    folder: str | Path,
    kind: "Kind",
    config: str,
    rows: Iterable[Mapping[str, Any]],
    columns: Iterable[str] | None = None,
) -> int:
    """Write the rows of one config of a dataset, `{config}/{split}-00000-of-00001.parquet`.

    Args:
        folder (`str` or `Path`): the dataset's files.
        kind ([`~hfdistill.kinds.Kind`]): of dataset; its columns are those in `COLUMNS`.
        config (`str`): name of the config.
        rows (`Iterable[Mapping]`): in their final order, read once. A column that a row lacks is null.
        columns (`Iterable[str]`, *optional*): those to write; all by default.

    Returns:
        `int`: number of rows.
    """
    schema = schema_of(kind, config, columns)
    return write_parquet(Path(folder) / config / f"{kind.split}-00000-of-00001.parquet", rows, schema)


def schema_of(kind: "Kind", config: str, columns: Iterable[str] | None = None) -> "pyarrow.Schema":
    """Names and types of the columns of a config, or of some of them."""
    import pyarrow as pa

    types = COLUMNS[kind.name][config]
    lists = {"ids": pa.list_(pa.int32()), "texts": pa.list_(pa.string())}
    return pa.schema([(name, lists.get(types[name]) or pa.type_for_alias(types[name])) for name in columns or types])


def write_parquet(
    path: str | Path, rows: Iterable[Mapping[str, Any]], schema: "pyarrow.Schema", group: int = 10_000
) -> int:
    """Write rows to a Parquet file as they come, in groups of fixed size: memory stays flat, and equal rows make equal
    bytes.

    Args:
        path (`str` or `Path`): the file; it appears whole or not at all.
        rows (`Iterable[Mapping]`): in their final order, read once.
        schema (`pyarrow.Schema`): names and types of the columns.
        group (`int`, *optional*, defaults to 10000): rows a group.

    Returns:
        `int`: number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_name(path.name + ".incoming")
    written, remaining = 0, iter(rows)
    with pq.ParquetWriter(incoming, schema, compression="zstd") as writer:
        while held := list(islice(remaining, group)):
            writer.write_table(pa.Table.from_pylist(held, schema=schema))
            written += len(held)
    incoming.replace(path)
    return written


def read_rows(
    folder: str | Path,
    config: str,
    columns: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Read the rows of one config of a dataset, in the order in which they were written.

    Args:
        folder (`str` or `Path`): the dataset's files, see [`~hfdistill.artifacts.references.Artifact`].
        config (`str`): name of the config, which is a folder of Parquet files.
        columns (`Sequence[str]`, *optional*): columns to read; all by default.
        where (`Mapping[str, Any]`, *optional*): only rows with these values in these columns.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the dataset has no such config or not these columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = _files(folder, config, columns)
    filters = [(column, "==", value) for column, value in (where or {}).items()] or None
    return pa.concat_tables([pq.read_table(file, columns=columns, filters=filters) for file in files]).to_pylist()


def scan_rows(folder: str | Path, config: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The same rows one after the other, so that memory holds few of them; arguments as for [`read_rows`]."""
    import pyarrow.parquet as pq

    files = _files(folder, config, columns)
    batches = (batch for file in files for batch in pq.ParquetFile(file).iter_batches(4096, columns=columns))
    return (row for batch in batches for row in batch.to_pylist())


def _files(folder: str | Path, config: str, columns: Sequence[str] | None) -> list[Path]:
    import pyarrow.parquet as pq

    files = sorted((Path(folder) / config).glob("*.parquet"))
    if not files:
        raise HFDistillError(f"{folder} has no config {config!r}: it is not the dataset that this stage reads")
    missing = sorted(set(columns or ()) - set(pq.read_schema(files[0]).names))
    if missing:
        raise HFDistillError(f"config {config!r} of {folder} has no column {missing[0]!r}")
    return files


def known_questions(asked: Iterable[Mapping[str, Any]], task: "Task") -> dict[str, "Question"]:
    """The task's questions that a dataset's rows are about, by id and in the order of the rows.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if a row is about a question that the task does not have, or that has
            another text there.
    """
    known = {question.question_id: question for question in task.questions()}
    found = {}
    for row in asked:
        question = known.get(row["question_id"])
        if question is None or question.question != row["question"]:
            raise HFDistillError(
                f"question {row['question_id']!r} of the dataset is not in the task: its options or its data have "
                "changed since; give the section `task` the options of then, or label the questions again"
            )
        found[row["question_id"]] = question
    return found


def has_label(asked: Mapping[str, Any], task: "Task") -> bool:
    """Whether a row of the labels' config `questions` is outside D_fail: it has a pseudo-label, or, in an open-ended
    task, which has none, a response that the judge calls good.
    """
    return not asked["failed"] if task.open_ended else asked["pseudo_label"] is not None
