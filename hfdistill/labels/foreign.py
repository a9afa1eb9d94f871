"""Responses that someone else sampled: rows of JSON lines, Parquet or a Hub dataset, under any column names, checked
one by one. What cannot be used is kept apart with its number and the reason.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HFDistillError, unknown
from ..rows import RESPONSE_COLUMNS
from ..tasks.loading import parquet_rows
from .labeler import HIGH, LOW
from .rejects import RejectedRow


# Where well-known tools put things; a path walks through objects and lists, and `*` means every element of a list.
LAYOUTS = {
    "hfdistill": {},
    "distilabel": {"question": "instruction", "response": "generation", "model": "model_name"},
    "lm_eval": {"question": "doc.question", "response": "resps.*.*"},
    "openai_batch": {
        "question_id": "custom_id",
        "response": "response.body.choices.*.message.content",
        "model": "response.body.model",
        "prompt_tokens": "response.body.usage.prompt_tokens",
    },
}
COLUMNS = (*(column for column in RESPONSE_COLUMNS if column not in ("answer", "label")), "options", "n_options")
SURROGATE = re.compile(r"[\ud800-\udfff]")  # what UTF-8 cannot hold
INTEGERS = ("sample", "seed", "prompt_tokens", "completion_tokens")


def column_mapping(columns: Iterable[str]) -> dict[str, str]:
    """Where each column is found, from words such as `distilabel` or `response=choices.0.text`; later words win."""
    mapping = {column: column for column in COLUMNS}
    for word in columns:
        column, equals, path = word.partition("=")
        if not equals:
            if word not in LAYOUTS:
                raise unknown("layout", word, LAYOUTS)
            mapping.update(LAYOUTS[word])
        elif column not in mapping:
            raise unknown("column", column, mapping)
        elif not path:
            raise HFDistillError(f"--columns {word}: name the place of {column}, as in {column}=some.path")
        else:
            mapping[column] = path
    return mapping


def foreign_rows(source: str, split: str = "train") -> Iterator[tuple[int, dict[str, Any] | RejectedRow]]:
    """Numbered rows of a file, of all files of a folder, or of a dataset on the Hub (`name` or `name@revision`)."""
    place = Path(source).expanduser()
    if place.is_file():
        files = [place]
    elif place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.suffix in (".jsonl", ".json", ".parquet"))
        if not files:
            raise HFDistillError(f"{source} holds no JSON-lines or Parquet file")
    elif place.suffix or not 1 <= source.count("/") <= 1:
        raise HFDistillError(f"no file {source}; a Hub dataset is named namespace/name")
    else:
        yield from _hub_rows(source, split)
        return
    read = (row for file in files for row in (parquet_rows if file.suffix == ".parquet" else _json_rows)(file))
    for number, row in enumerate(read, 1):
        yield number, row._replace(row=number) if isinstance(row, RejectedRow) else row


def _json_rows(file: Path) -> Iterator[dict[str, Any] | RejectedRow]:
    import orjson

    with file.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield _broken_line(line, str(error))
                continue
            if isinstance(row, dict):
                yield row
            else:
                yield RejectedRow(0, "not_an_object", f"the line holds a {type(row).__name__}", row)


def _broken_line(line: bytes, message: str) -> RejectedRow:
    shown = line.rstrip(b"\n").decode("utf-8", "backslashreplace")
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return RejectedRow(0, "invalid_utf8", f"byte {error.start} is not UTF-8", shown)
    return RejectedRow(0, "not_json", message, shown)


def _hub_rows(source: str, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    from datasets import load_dataset

    name, _, revision = source.partition("@")
    try:
        rows = load_dataset(name, split=split, revision=revision or None)
    except (ConnectionError, FileNotFoundError, ValueError) as error:
        raise HFDistillError(
            f"cannot read the dataset {source}, split {split} ({type(error).__name__}: {error}): check the name, "
            "HF_ENDPOINT and HF_TOKEN, or give a file"
        ) from error
    yield from enumerate(rows, 1)


def found(row: Any, path: str) -> list[Any]:
    """What stands at a dotted path: one value, none where it is missing, several where a `*` is in it."""
    if isinstance(row, dict) and path in row:
        return [row[path]]
    values = [row]
    for word in path.split("."):
        following: list[Any] = []
        for value in values:
            if isinstance(value, list) and word == "*":
                following += value
            elif isinstance(value, list) and word.isdecimal() and int(word) < len(value):
                following.append(value[int(word)])
            elif isinstance(value, dict) and word in value:
                following.append(value[word])
        values = following
    return values


@dataclass
class RowReader:
    """Turns rows into responses.

    Args:
        mapping (`dict[str, str]`): where each column is found, from [`column_mapping`].
        high_temperature (`float`): rows without a confidence vote when their temperature is at most this.
    """

    mapping: dict[str, str]
    high_temperature: float = 0.3

    def responses(self, number: int, row: dict[str, Any]) -> Iterator[dict[str, Any] | RejectedRow]:
        """Every response of a row, or why there is none; `confidence` stays `None` where nothing tells it."""
        fields: dict[str, Any] = {}
        for column, path in self.mapping.items():
            if column != "response":
                values = found(row, path)
                if values and values[0] is not None:
                    fields[column] = values[0]
        problem = self._check(fields)
        if problem:
            yield RejectedRow(number, *problem, row)
            return
        texts = found(row, self.mapping["response"])
        if len(texts) == 1 and isinstance(texts[0], list):
            texts = texts[0]
        if not texts:
            yield RejectedRow(number, "no_response", f"nothing at '{self.mapping['response']}'", row)
        for sample, text in enumerate(texts):
            if text is None:
                yield RejectedRow(number, "no_response", f"'{self.mapping['response']}' is null", row)
            elif not isinstance(text, str):
                yield RejectedRow(number, "response_not_text", f"a {type(text).__name__}", row)
            elif SURROGATE.search(text):
                yield RejectedRow(number, "invalid_utf8", "the response holds half a surrogate pair", None)
            else:
                yield {"sample": sample if len(texts) > 1 else None, **fields, "response": text}

    def _check(self, fields: dict[str, Any]) -> tuple[str, str] | None:
        """Brings the fields into their types; the reason and detail of the first that cannot be."""
        temperature, confidence = fields.get("temperature"), fields.get("confidence")
        if temperature is not None:
            if isinstance(temperature, bool) or not isinstance(temperature, int | float):
                return "bad_temperature", repr(temperature)[:100]
            if not math.isfinite(temperature) or temperature < 0:
                return "bad_temperature", repr(temperature)
            fields["temperature"] = float(temperature)
        if confidence is None and temperature is not None:
            fields["confidence"] = HIGH if temperature <= self.high_temperature else LOW
        elif confidence is not None and confidence not in (HIGH, LOW):
            return "bad_confidence", repr(confidence)[:100]
        for column in INTEGERS:
            value = fields.get(column)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63):
                return "bad_integer", f"{column} is {value!r}"[:100]
        for column in ("question_id", "question", "finish_reason", "model", "endpoint_kind"):
            if column in fields and not isinstance(fields[column], str):
                fields[column] = str(fields[column])
        return None
