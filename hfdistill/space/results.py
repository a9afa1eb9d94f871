"""The stored answers of `{run}-results`: an index in memory, and the texts on disk until somebody looks at them."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import HFDistillError
from ..evaluation.paper_rows import in_order
from ..kinds import RESULTS
from ..rows import schema_of


INDEX = ("task", "row", "question_id", "answer", "gold", "correct", "category", "tokens", "finish_reason", "score")
TEXTS = ("question", "response", "options")


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """Who answered which test question of a task how; arrays of the shape `(rows, questions)`.

    Attributes:
        rows (`list[str]`): who answered, in the paper's order.
        question_ids (`list[str]`): in the order in which they were asked.
        places (`numpy.ndarray`): where in the dataset an answer stands; -1 where there is none.
        right (`numpy.ndarray`): whether it is right.
        answered (`numpy.ndarray`): whether a final answer was read out of it.
        scores (`numpy.ndarray`): of the reward model; NaN where none was stored.
        tokens (`numpy.ndarray`): that it took.
        categories (`list[str | None]`): of the questions.
    """

    rows: list[str]
    question_ids: list[str]
    places: np.ndarray
    right: np.ndarray
    answered: np.ndarray
    scores: np.ndarray
    tokens: np.ndarray
    categories: list[str | None]

    def of(self, row: str, values: np.ndarray) -> np.ndarray | None:
        """The part of an array that is one row's; `None` where the table has no such row."""
        return values[self.rows.index(row)] if row in self.rows else None


class StoredAnswers:
    """Every answer that the evaluation stored. Opening reads the columns of the index, no text.

    Args:
        folder (`Path`): the dataset's files.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if there are no answers in it.
    """

    def __init__(self, folder: Path):
        self._files = sorted((folder / "responses").glob("*.parquet"))
        if not self._files:
            raise HFDistillError(f"{folder} has no config 'responses': it is not what an evaluation writes")
        index = pa.concat_tables([_read(file) for file in self._files])
        self._index = index
        self._folder = tempfile.TemporaryDirectory(prefix="hfdistill-space-")
        self._lock = Lock()
        self._mapped: pa.Table | None = None
        tasks = index["task"].combine_chunks().dictionary_encode()
        codes = tasks.indices.to_numpy()
        self.tasks = {
            name: self._task(np.flatnonzero(codes == code)) for code, name in enumerate(tasks.dictionary.to_pylist())
        }

    def question(self, task: str, number: int) -> dict[str, Any]:
        """`question` and, where they were stored, `options` of the question with this number."""
        place = int(self.tasks[task].places[:, number].max())
        return self._texts().select(["question", "options"]).slice(place, 1).to_pylist()[0]

    def answers(self, task: str, number: int) -> list[dict[str, Any]]:
        """The answers to a question, in the order of the rows, with all columns of the dataset."""
        places = [int(place) for place in self.tasks[task].places[:, number] if place >= 0]
        return [
            {**self._index.slice(place, 1).to_pylist()[0], **self._texts().slice(place, 1).to_pylist()[0]}
            for place in places
        ]

    def find(self, task: str, words: str) -> np.ndarray:
        """Which questions hold these words, in whatever case: `(questions,)`."""
        texts = self._texts()["question"].take(pa.array(self.tasks[task].places.max(axis=0)))
        return pc.match_substring(texts, words, ignore_case=True).to_numpy()

    def _task(self, places: np.ndarray) -> TaskAnswers:
        table = self._index.take(pa.array(places))
        asked = table["question_id"].combine_chunks().dictionary_encode()
        answering = table["row"].combine_chunks().dictionary_encode()
        names = in_order(answering.dictionary.to_pylist())
        order = np.array([names.index(name) for name in answering.dictionary.to_pylist()])
        at = order[answering.indices.to_numpy()], asked.indices.to_numpy()
        shape = len(names), len(asked.dictionary)

        def spread(values: np.ndarray, missing: Any) -> np.ndarray:
            whole = np.full(shape, missing, dtype=values.dtype)
            whole[at] = values
            return whole

        first = spread(np.arange(len(places)), -1).max(axis=0)
        return TaskAnswers(
            rows=names,
            question_ids=asked.dictionary.to_pylist(),
            places=spread(places, -1),
            right=spread(table["correct"].fill_null(False).to_numpy().astype(bool), False),
            answered=spread(table["answer"].combine_chunks().is_valid().to_numpy(zero_copy_only=False), False),
            scores=spread(table["score"].to_numpy().astype(float), np.nan),
            tokens=spread(table["tokens"].combine_chunks().fill_null(0).to_numpy(), 0),
            categories=table["category"].take(pa.array(first)).to_pylist(),
        )

    def _texts(self) -> pa.Table:
        """The texts, mapped from a file, so that reading one costs the same whichever it is and memory holds none."""
        with self._lock:
            if self._mapped is None:
                path = Path(self._folder.name, "texts.arrow")
                with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _schema(TEXTS)) as writer:
                    for file in self._files:
                        for batch in pq.ParquetFile(file).iter_batches(8192, columns=_there(file, TEXTS)):
                            writer.write_table(_complete(pa.table(batch), TEXTS))
                self._mapped = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            return self._mapped


def _read(file: Path) -> pa.Table:
    return _complete(pq.read_table(file, columns=_there(file, INDEX)), INDEX)


def _there(file: Path, columns: Sequence[str]) -> list[str]:
    return [name for name in pq.read_schema(file).names if name in columns]


def _complete(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table with every column: those that an older evaluation did not store are null."""
    for field in _schema(columns):
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(list(columns)).cast(_schema(columns))


def _schema(columns: Sequence[str]) -> pa.Schema:
    return schema_of(RESULTS, "responses", columns)
