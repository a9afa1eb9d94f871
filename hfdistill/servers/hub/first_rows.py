"""The first rows of a dataset, for its page."""

import csv
import fnmatch
import io
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from .contents import Blob


ROWS = 20
COLUMNS = 40
CELL = 500
HEAD = 512 * 1024
CONFIGS = 50
# What is compared with what to find each config's first file.
PATTERNS, MAX_PATTERN, MAX_PATHS = 4, 256, 10_000


@dataclass(frozen=True)
class FirstRows:
    """Cells are text, cut to a readable length."""

    path: str
    columns: list[str]
    rows: list[list[str]]


def files_of_configs(card: dict, paths: Iterable[str]) -> dict[str, str]:
    """The first data file of each config: as the card lists them, else one config a folder."""
    data = [path for path in itertools.islice(paths, MAX_PATHS) if path.endswith((".parquet", ".jsonl", ".csv"))]
    found: dict[str, str] = {}
    configs = card.get("configs")
    for config in configs[:CONFIGS] if isinstance(configs, list) else []:
        if not isinstance(config, dict):
            continue
        for pattern in _patterns(config.get("data_files"))[:PATTERNS]:
            match = next((path for path in data if fnmatch.fnmatchcase(path, pattern[:MAX_PATTERN])), None)
            if match:
                found.setdefault(str(config.get("config_name")), match)
    if not found:
        for path in data:
            found.setdefault(path.rpartition("/")[0] or "default", path)
    return dict(list(found.items())[:CONFIGS])


def _patterns(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return _patterns(value.get("path")) or [text for item in value.values() for text in _patterns(item)]
    return [text for item in value for text in _patterns(item)] if isinstance(value, list) else []


def first_rows(path: str, blob: Blob) -> FirstRows:
    """Reads a file's first rows.

    Some files take all memory there is, so the Hub calls it through [`~readers.Readers`] alone.

    Raises:
        `ValueError`: It is not what its name says.
    """
    lines = None if path.endswith(".parquet") else _lines(blob)
    try:
        if lines is None:
            rows = _parquet(blob)
        elif path.endswith(".jsonl"):
            found = map(json.loads, itertools.islice(filter(str.strip, lines), ROWS))
            rows = [row for row in found if isinstance(row, dict)]
        else:
            rows = list(itertools.islice(csv.DictReader(lines), ROWS))
    except (pa.ArrowNotImplementedError, OSError, ValueError, csv.Error) as error:
        raise ValueError(f"it is not what its name says: {error}") from error
    columns = list(dict.fromkeys(str(key) for row in rows for key in row))[:COLUMNS]
    return FirstRows(path, columns, [[_cell(row.get(column)) for column in columns] for row in rows])


def _lines(blob: Blob) -> io.StringIO:
    """The first lines that are whole."""
    text = blob.read(HEAD).decode("utf-8", "replace")
    if blob.size > HEAD:
        text = text.rpartition("\n")[0]
        if not text:
            raise ValueError(f"its first row is over {HEAD} bytes")
    return io.StringIO(text, newline="\n")


def _parquet(blob: Blob) -> list[dict]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(blob.open()) as file:
        if file.metadata.num_row_groups == 0:
            return []
        names = file.schema_arrow.names[:COLUMNS]
        for batch in file.iter_batches(batch_size=ROWS, row_groups=[0], columns=names, use_threads=False):
            return batch.to_pylist()
    return []


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= CELL else text[:CELL] + "…"
