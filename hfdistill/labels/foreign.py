"""Responses that someone else sampled: rows of files or a Hub dataset, under any column names, checked one by one.
What cannot be used is kept apart with its number and the reason.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..tasks.files import SUFFIXES, rows_of, without_compression
from ..tasks.json_rows import BrokenRow
from .columns import found, what_to_give
from .labeler import HIGH, LOW
from .rejects import RejectedRow


SURROGATE = re.compile(r"[\ud800-\udfff]")  # what UTF-8 cannot hold
INTEGERS = ("sample", "seed", "prompt_tokens", "completion_tokens")
TEXTS = ("question_id", "question", "finish_reason", "model", "endpoint_kind", "split", "thought")
# Columns that say something of each of several responses in a row, where they hold as many values.
EACH = ("finish_reason", "model", "prompt_tokens", "completion_tokens", "seed", "temperature")


def foreign_rows(source: str, split: str = "train") -> Iterator[tuple[int, dict[str, Any] | RejectedRow]]:
    """Numbered rows of a file, of all files of a folder, or of a dataset on the Hub (`name` or `name@revision`)."""
    place = Path(source).expanduser()
    if place.is_file():
        files = [place]
    elif place.is_dir():
        files = sorted(file for file in place.rglob("*") if without_compression(file).suffix in SUFFIXES)
        if not files:
            raise HFDistillError(
                f"{source} holds no file of rows ({', '.join(SUFFIXES)}, perhaps with .gz or .zst behind)"
            )
    elif without_compression(place).suffix or not 1 <= source.count("/") <= 1:
        raise HFDistillError(f"no file {source}; a Hub dataset is named namespace/name")
    else:
        yield from _hub_rows(source, split)
        return
    for number, row in enumerate((row for file in files for row in rows_of(file)), 1):
        yield number, RejectedRow(number, *row) if isinstance(row, BrokenRow) else row


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


def batch_requests(source: str) -> dict[str, dict[str, Any]]:
    """What the requests of an OpenAI batch asked: `question`, the last text of the user, and `temperature`, by
    `custom_id`.
    """
    requests: dict[str, dict[str, Any]] = {}
    questions: dict[str, str] = {}
    for number, row in foreign_rows(source):
        identity = None if isinstance(row, RejectedRow) else row.get("custom_id")
        body = None if isinstance(row, RejectedRow) else row.get("body")
        asked = found(body, "messages.role=user.content|input.role=user.content|input|prompt")
        text = _text(asked[-1]) if asked else None
        if not isinstance(identity, str) or not isinstance(text, str):
            raise HFDistillError(
                f"row {number} of {source} is no request of an OpenAI batch, which has a custom_id and a body with "
                "messages, input or prompt: give --requests the file that was uploaded"
            )
        if identity in requests:
            raise HFDistillError(f"two requests of {source} have the custom_id {identity!r}: it must name one of them")
        # One string object a question, which is asked many times.
        requests[identity] = {"question": questions.setdefault(text, text), "temperature": body.get("temperature")}
    return requests


@dataclass
class RowReader:
    """Turns rows into responses.

    Args:
        mapping (`dict[str, str]`): where each column is found, from [`~hfdistill.labels.columns.column_mapping`].
        high_temperature (`float`): rows without a confidence vote when their temperature is at most this.
        requests (`Mapping[str, dict]`, *optional*): what the rows' requests asked, from [`batch_requests`].
        plain_text (`bool`, *optional*, defaults to `False`): a response that is a JSON list of texts is one text.

    Attributes:
        repeated (`int`): rows left out because an earlier one holds the same responses under another filter.
    """

    mapping: dict[str, str]
    high_temperature: float = 0.3
    requests: Mapping[str, dict[str, Any]] | None = None
    plain_text: bool = False
    repeated: int = field(default=0, init=False)
    _filters: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    def responses(self, number: int, row: dict[str, Any]) -> Iterator[dict[str, Any] | RejectedRow]:
        """Every response of a row, or why there is none; `confidence` stays `None` where nothing tells it."""
        if "rows" not in self.mapping:
            yield from self._responses(number, row)
            return
        inner = found(row, self.mapping["rows"])
        if len(inner) == 1 and isinstance(inner[0], list):
            inner = inner[0]
        if not inner:
            yield RejectedRow(number, "no_response", f"no rows at '{self.mapping['rows']}'", row)
        for item in inner:
            if isinstance(item, dict):
                yield from self._responses(number, item)
            else:
                yield RejectedRow(number, "not_an_object", f"a {type(item).__name__} stands there", item)

    def _responses(self, number: int, row: dict[str, Any]) -> Iterator[dict[str, Any] | RejectedRow]:
        content = row
        if self.requests is not None:
            request = self.requests.get(row.get("custom_id", ""))
            if request is None:
                yield RejectedRow(number, "no_request", f"custom_id {row.get('custom_id')!r}"[:200], content)
                return
            row = {**row, "request": request}
        texts = texts_at(row, self.mapping["response"])
        shared, each = self._fields(row, len(texts))
        problem = self._ask(shared, row)
        if problem:
            yield RejectedRow(number, *problem, content)
            return
        if self._repeats(shared):
            self.repeated += 1
            return
        if not texts or all(text is None for text in texts):
            yield RejectedRow(number, *self._nothing(shared, texts, row), content)
            return
        for place, text in enumerate(texts):
            fields = {**shared, **{column: values[place] for column, values in each.items()}}
            problem = self._check(fields) or self._unreadable(text)
            if problem:
                yield RejectedRow(number, *problem, None if problem[0] == "invalid_utf8" else content)
            else:
                yield {**fields, "response": text}

    def _fields(self, row: dict[str, Any], texts: int) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """The values of columns that say something of all responses, and of those that say it of each."""
        shared: dict[str, Any] = {}
        each: dict[str, list[Any]] = {}
        for column, path in self.mapping.items():
            if column in ("response", "rows"):
                continue
            values = [row[path]] if path in row else found(row, path) if "." in path or "|" in path else []
            if column in EACH:
                if len(values) == 1 and isinstance(values[0], list):
                    values = values[0]
                if len(values) == texts > 1:
                    each[column] = values
                if len(values) > 1:
                    continue
            if column == "question" and len(values) > 1:
                shared["questions"] = len(values)
            if values and values[0] is not None:
                shared[column] = values[0]
        return shared, each

    def _ask(self, fields: dict[str, Any], row: dict[str, Any]) -> tuple[str, str] | None:
        """Why a row asks nothing, or too much."""
        turns = fields.pop("questions", 1)
        if turns > 1:
            place = self.mapping["question"]
            return (
                "several_turns",
                f"{turns} texts at '{place}', of which one must be named: messages.-2.content",
            )
        if "question" in fields:
            fields["question"] = _text(fields["question"])
        if fields.get("question") is None and fields.get("question_id") is None:
            return "no_question", what_to_give(row, self.mapping)
        return None

    def _repeats(self, fields: dict[str, Any]) -> bool:
        """Whether an earlier row holds the same responses: lm-eval writes them once a filter."""
        under = fields.pop("filter", None)
        if under is None:
            return False
        key = hash((fields.get("question_id"), fields.get("question"), str(fields.get("options"))))
        return self._filters.setdefault(key, under) != under

    def _nothing(self, fields: dict[str, Any], texts: list[Any], row: dict[str, Any]) -> tuple[str, str]:
        if fields.get("error") is not None:
            return "request_failed", str(fields["error"])[:200]
        if texts:
            return "no_response", f"'{self.mapping['response']}' is null"
        return "no_response", f"nothing at '{self.mapping['response']}'; {what_to_give(row, self.mapping)}"

    def _unreadable(self, text: Any) -> tuple[str, str] | None:
        """Why a response cannot be used."""
        if text is None:
            return "no_response", "it is null"
        if isinstance(text, list) and len(text) == 2 and str(text[1]) in ("True", "False"):
            return "response_not_text", "log-likelihoods of choices; lm-eval has responses of tasks that generate text"
        if not isinstance(text, str):
            return "response_not_text", f"a {type(text).__name__}"
        if SURROGATE.search(text):
            return "invalid_utf8", "the response holds half a surrogate pair"
        if not self.plain_text and text.startswith("[") and _is_list_of_texts(text):
            return "list_in_text", f"give --columns response={self.mapping['response']}.json"
        return None

    def _check(self, fields: dict[str, Any]) -> tuple[str, str] | None:
        """Brings the fields into their types; the reason and detail of the first that cannot be."""
        fields.pop("error", None)
        if fields.pop("do_sample", None) is False:
            fields["temperature"] = 0.0
        if fields.get("temperature") is not None:
            temperature = _number(fields["temperature"])
            if temperature is None or not math.isfinite(temperature) or temperature < 0:
                return "bad_temperature", repr(fields["temperature"])[:100]
            fields["temperature"] = temperature
        confidence = fields.get("confidence")
        if confidence is None and fields.get("temperature") is not None:
            fields["confidence"] = HIGH if fields["temperature"] <= self.high_temperature else LOW
        elif confidence is not None and confidence not in (HIGH, LOW):
            return "bad_confidence", repr(confidence)[:100]
        for column in INTEGERS:
            if fields.get(column) is not None:
                number = _number(fields[column])
                if number is None or not number.is_integer() or abs(number) >= 2**63:
                    return "bad_integer", f"{column} is {fields[column]!r}"[:100]
                # A seed may have more digits than a float, and a column of pandas' reads "3.0".
                digits = str(fields[column]).strip().lstrip("+-").isdecimal()
                fields[column] = int(fields[column] if digits else number)
        for column in TEXTS:
            if fields.get(column) is not None:
                fields[column] = str(fields[column])
                if SURROGATE.search(fields[column]):
                    return "invalid_utf8", f"{column} holds half a surrogate pair"
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError):
        return None


def texts_at(row: Any, path: str) -> list[Any]:
    """The responses at a place: those of a list, too, and contents in parts as one text."""
    texts = [_text(value) for value in found(row, path)]
    return [_text(value) for value in texts[0]] if len(texts) == 1 and isinstance(texts[0], list) else texts


def _text(value: Any) -> Any:
    """The text of a message's content, which may be in parts; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        texts = [part.get("text") for part in value if part.get("type") in ("text", "output_text", "input_text")]
        if texts and all(isinstance(text, str) for text in texts):
            return "".join(texts)
    return value


def _is_list_of_texts(text: str) -> bool:
    values = found(text, "json")
    items = values[0] if values and isinstance(values[0], list) else []
    return len(items) > 1 and all(isinstance(item, str) for item in items)
