"""Where columns stand in rows of other tools: paths through a row, and the layouts of well-known tools."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import HFDistillError, unknown
from ..rows import RESPONSE_COLUMNS


# What tells of a row besides the columns of the labels; `rows` is the place of a list of rows within one, `error` says
# why there is no response, `do_sample: false` is temperature 0, and of a question's rows under several filters those
# under the first one count.
FURTHER = ("options", "n_options", "category", "split", "gold", "rows", "error", "do_sample", "filter")
COLUMNS = (*(column for column in RESPONSE_COLUMNS if column not in ("answer", "label")), *FURTHER)
# Columns that are read only where a layout or the user names their place.
UNNAMED = ("rows", "do_sample", "filter")

# Well-known tools; [`found`] reads the places.
LAYOUTS = {
    "hfdistill": {},
    "distilabel": {
        "question": "instruction|messages.role=user.content",
        "response": "generation|generations",
        "model": "model_name|generation_models",
        "completion_tokens": "distilabel_metadata.statistics_text_generation_0.output_tokens"
        "|distilabel_metadata.*.statistics_text_generation_0.output_tokens",
    },
    "lm_eval": {
        "question": "doc.question|doc.problem",
        "response": "resps.*.*",
        "options": "doc.options|doc.choices.text|doc.choices",
        "category": "doc.category|doc.subject",
        "gold": "target",
        "temperature": "arguments.gen_args_0.arg_1.temperature|arguments.0.1.temperature",
        "do_sample": "arguments.gen_args_0.arg_1.do_sample|arguments.0.1.do_sample",
        "filter": "filter",
    },
    "messages": {"question": "messages.role=user.content", "response": "messages.role=assistant.content"},
    "openai_batch": {
        "question_id": "custom_id",
        "question": "request.question",
        "temperature": "request.temperature",
        "response": "response.body.choices.*.message.content|response.body.output.type=message.content"
        "|response.body.choices.*.text",
        "finish_reason": "response.body.choices.*.finish_reason",
        "model": "response.body.model",
        "prompt_tokens": "response.body.usage.prompt_tokens|response.body.usage.input_tokens",
        "error": "error.message|response.body.error.message",
    },
    "sharegpt": {
        "question": "conversations.from=human.value|conversations.from=user.value",
        "response": "conversations.from=gpt.value|conversations.from=assistant.value",
    },
    "trl": {
        "question": "prompt.role=user.content|prompt",
        "response": "completion.role=assistant.content|completion",
    },
    "vllm": {
        "question": "prompt",
        "response": "outputs.*.text",
        "finish_reason": "outputs.*.finish_reason",
    },
}


def column_mapping(columns: Iterable[str]) -> dict[str, str]:
    """Where each column is found, from words such as `distilabel` or `response=choices.0.text`; later words win."""
    mapping = {column: column for column in COLUMNS if column not in UNNAMED}
    for word in columns:
        column, equals, path = word.partition("=")
        if not equals:
            if word not in LAYOUTS:
                raise unknown("layout", word, LAYOUTS)
            mapping.update(LAYOUTS[word])
        elif column not in COLUMNS:
            raise unknown("column", column, COLUMNS)
        elif not path:
            raise HFDistillError(f"--columns {word}: name the place of {column}, as in {column}=some.path")
        else:
            mapping[column] = path
    return mapping


def found(row: Any, path: str) -> list[Any]:
    """What stands at a place: one value, none where it is missing, several where a word stands for several.

    Words are joined by dots. A word is the name of a value in an object; in a list a number (`-1` is the last
    element), `*` for every element, or `role=user` for the objects in it whose `role` is `user`; and `json` reads a
    text as JSON. Of several places, joined by `|`, the first one that holds something counts.
    """
    values: list[Any] = []
    for place in path.split("|"):
        values = values or _at(row, place)
    return values


def _at(row: Any, place: str) -> list[Any]:
    if isinstance(row, dict) and place in row:
        return [row[place]]
    values = [row]
    for word in place.split("."):
        values = [inner for value in values for inner in _inside(value, word)]
    return values


def _inside(value: Any, word: str) -> list[Any]:
    if isinstance(value, dict):
        return [value[word]] if word in value else []
    if isinstance(value, str) and word == "json":
        try:
            return [json.loads(value)]
        except ValueError:
            return []
    if not isinstance(value, list):
        return []
    if word == "*":
        return value
    name, equals, wanted = word.partition("=")
    if equals:
        return [item for item in value if isinstance(item, dict) and item.get(name) == wanted]
    if word.removeprefix("-").isdecimal() and -len(value) <= int(word) < len(value):
        return [value[int(word)]]
    return []


def what_to_give(
    row: Mapping[str, Any], mapping: Mapping[str, str], needed: Sequence[str] = ("question", "response")
) -> str:
    """The columns that a row has, and the `--columns` that would find what is needed in it."""
    names = ", ".join(map(str, row)) or "none"
    for layout, places in LAYOUTS.items():
        by = [places.get("question"), places.get("question_id")]
        asked = any(found(row, place) for place in by if place)
        if asked and found(row, places["response"]) and mapping["response"] != places["response"]:
            return f"the columns are {names}: give --columns {layout}"
    inner = [name for name, value in row.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(inner) == 1 and len(row) > 1 and mapping.get("rows") is None and "role" not in row[inner[0]][0]:
        return f"the columns are {names}: if {inner[0]} holds the rows, give --columns rows={inner[0]}"
    pairs = []
    for column in needed:
        near = difflib.get_close_matches(column, list(map(str, row)), n=1, cutoff=0.5)
        if not found(row, mapping[column]):
            pairs.append(f"{column}={near[0] if near else 'PLACE'}")
    return f"the columns are {names}: give --columns {' '.join(pairs)}".rstrip()
