"""Rows of files as they are: JSON in any form, CSV and Parquet, compressed or not."""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import HFDistillError
from .json_rows import CHUNK, BrokenRow, Row, json_rows


COMPRESSED = (".gz", ".zst")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (".jsonl", ".json", ".parquet", *DELIMITERS)
BOM = b"\xef\xbb\xbf"

# How files begin that hold no rows as they are, and what to do with them.
REFUSED = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"\xff\xfe": "text in UTF-16: save it in UTF-8",
    b"\xfe\xff": "text in UTF-16: save it in UTF-8",
    b"BZh": "compressed by bzip2: unpack it, or compress it by gzip or zstd",
    b"\xfd7zXZ": "compressed by xz: unpack it, or compress it by gzip or zstd",
}


def without_compression(file: Path) -> Path:
    """The name of a file as it would be uncompressed."""
    return file.with_suffix("") if file.suffix in COMPRESSED else file


def rows_of(file: Path) -> Iterator[Row]:
    """Rows of one file, in order. The content tells what it is; CSV is told by its suffix.

    They are read as they are asked for: JSON lines and CSV by the line, Parquet by the group, arrays of JSON by the
    element.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the file cannot be read, is of a kind that holds no rows, or is broken
            in a way that leaves nothing behind it readable.
    """
    try:
        with file.open("rb") as raw:
            magic = raw.read(8)
        for beginning, what in REFUSED.items():
            if magic.startswith(beginning):
                raise HFDistillError(f"{file} is {what}")
        suffix = without_compression(file).suffix
        if magic.startswith(b"PAR1") or suffix == ".parquet":
            yield from parquet_rows(file)
        elif suffix in DELIMITERS:
            with _opened(file, magic) as stream:
                yield from _cells(stream, DELIMITERS[suffix])
        else:
            yield from json_rows(partial(_opened, file, magic), file)
    except (EOFError, OSError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise HFDistillError(f"{file} cannot be read: {said}") from error


def parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, in order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file).iter_batches(4096):
            yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise HFDistillError(f"{file} is no readable Parquet file: {error}") from error


@contextmanager
def _opened(file: Path, magic: bytes) -> Iterator[BinaryIO]:
    """The bytes of a file behind its compression and its byte order mark, if it has them."""
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        stream: Any = io.BufferedReader(pa.input_stream(str(file), compression="zstd"), CHUNK)
    else:
        stream = gzip.GzipFile(file) if magic.startswith(b"\x1f\x8b") else file.open("rb")
    with stream:
        if stream.peek(len(BOM))[: len(BOM)] == BOM:
            stream.read(len(BOM))
        yield stream


def _cells(stream: BinaryIO, delimiter: str) -> Iterator[Row]:
    """Rows of a table under a line of names: texts, without those that are empty."""
    header = stream.peek(CHUNK).partition(b"\n")[0]
    if delimiter == "," and header.count(b";") > header.count(b","):
        delimiter = ";"  # as spreadsheets write where a comma divides decimals
    csv.field_size_limit(sys.maxsize)
    with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text, delimiter=delimiter):
            more = row.pop(None, None)
            if more:
                yield BrokenRow("too_many_cells", f"{len(row) + len(more)} cells under {len(row)} names", row)
            else:
                yield {name: cell for name, cell in row.items() if cell}
