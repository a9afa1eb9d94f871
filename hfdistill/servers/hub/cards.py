"""Card metadata: the YAML at the head of README.md, and the tags that listings filter by."""

import math
import re
from collections.abc import Collection, Iterator

import yaml


FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
# Aliases make a small text stand for an endless one, so what it stands for is counted while it is copied.
MAX_CARD = 1024 * 1024
MAX_DEPTH = 50

# Keys whose values become tags as they are, and keys whose values become `key:value`.
PLAIN = {"model": ("library_name", "pipeline_tag", "tags", "language"), "dataset": ("tags",), "space": ("sdk", "tags")}
PREFIXED = {
    "model": {"license": "license", "datasets": "dataset"},
    "dataset": {
        key: key
        for key in (
            "license",
            "language",
            "task_categories",
            "task_ids",
            "size_categories",
            "annotations_creators",
            "language_creators",
            "multilinguality",
            "source_datasets",
        )
    },
    "space": {"license": "license"},
}


# Libraries and methods whose names as tags say that weights were made smaller.
QUANTIZED = frozenset(("gguf", "gptq", "awq", "exl2", "exl3"))


class CardError(ValueError):
    """The metadata cannot be used; the message says why."""


def split_card(text: str) -> tuple[str | None, str]:
    """Splits a card into its YAML (`None` if it has none) and its body."""
    match = FRONT_MATTER.match(text.lstrip("\ufeff"))
    if not match:
        return None, text
    return match.group(1), text.lstrip("\ufeff")[match.end() :]


def parse_card(text: str) -> dict:
    """The metadata of a card, `{}` where it has none.

    Raises:
        [`CardError`]: It is not a YAML mapping.
    """
    front, _ = split_card(text)
    if front is None or not front.strip():
        return {}
    if len(front) > MAX_CARD:
        raise CardError(f"The metadata is over {MAX_CARD} bytes.")
    if _nesting(front) > MAX_DEPTH:
        raise CardError(f"The metadata is nested deeper than {MAX_DEPTH} levels.")
    try:
        data = yaml.load(front, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CardError(f"The metadata is not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise CardError("The metadata must be a mapping of keys to values.")
    return _plain(data, [MAX_CARD])


def _nesting(text: str) -> int:
    """How many brackets are open at once at most; the parser is slow to find out that it cannot take them."""
    depth = deepest = 0
    for letter in re.findall(r"[\[\]{}]", text):
        depth += 1 if letter in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _plain(value: object, budget: list[int], depth: int = 0) -> object:
    """A copy that JSON can carry."""
    budget[0] -= 1 + (len(value) if isinstance(value, str) else 0)
    if budget[0] < 0 or depth > MAX_DEPTH:
        raise CardError(f"The metadata stands for more than {MAX_CARD} characters or {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        return {_plain(str(key), budget): _plain(item, budget, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item, budget, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


class _Loader(yaml.CSafeLoader):
    """Safe, and dates stay text: the metadata goes out as JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def validate_card(text: str, repo_type: str) -> tuple[list[str], list[str]]:
    """Checks a card as the Hub does before a push.

    Returns:
        `tuple[list[str], list[str]]`: errors, which refuse the push, and warnings.
    """
    try:
        data = parse_card(text)
    except CardError as error:
        return [str(error)], []
    if not data:
        return [], ["empty or missing yaml metadata in repo card"]
    errors = []
    for key in ("license", "pipeline_tag", "library_name", "pretty_name", "title", "sdk", "app_file"):
        if key in data and not _is_text(data[key]) and not (key == "license" and _is_texts(data[key])):
            errors.append(f'"{key}" must be a string')
    for key in ("tags", "datasets", "language", "base_model", "metrics", "task_categories", "size_categories"):
        if key in data and data[key] is not None and not _is_text(data[key]) and not _is_texts(data[key]):
            errors.append(f'"{key}" must be a string or a list of strings')
    index = data.get("model-index")
    if index is not None and not (
        isinstance(index, list) and all(isinstance(model, dict) and "results" in model for model in index)
    ):
        errors.append('"model-index" must be a list of models with "name" and "results"')
    if repo_type == "dataset" and data.get("configs") is not None:
        configs = data["configs"]
        if not (isinstance(configs, list) and all(isinstance(c, dict) and "config_name" in c for c in configs)):
            errors.append('"configs" must be a list of mappings with "config_name"')
    if repo_type == "space" and not data.get("sdk"):
        errors.append('"sdk" is required')
    return errors, []


def tags_of(repo_type: str, card: dict, paths: list[str], config: dict) -> list[str]:
    """The tags that listings filter by, from the metadata, the files' names and a model's `config.json`."""
    tags: dict[str, None] = {}
    for key in PLAIN[repo_type]:
        tags.update(dict.fromkeys(_texts(card.get(key))))
    for key, prefix in PREFIXED[repo_type].items():
        tags.update((f"{prefix}:{value}", None) for value in _texts(card.get(key)))
    if repo_type == "model":
        tags.update(dict.fromkeys(_tags_of_config(config)))
        bases = _texts(card.get("base_model"))
        relation = card.get("base_model_relation")
        if not _is_text(relation):
            relation = _relation(bases, tags.keys(), paths, "quantization_config" in config)
        for base in bases:
            tags |= {f"base_model:{base}": None, f"base_model:{relation}:{base}": None}
        for suffix in ("safetensors", "gguf", "onnx"):
            if any(path.endswith(f".{suffix}") for path in paths):
                tags[suffix] = None
    if repo_type == "dataset":
        for suffix, name in (("parquet", "parquet"), ("jsonl", "json"), ("json", "json"), ("csv", "csv")):
            if any(path.endswith(f".{suffix}") for path in paths):
                tags[f"format:{name}"] = None
    return [tag for tag in tags if len(tag) <= 256][:500]


def _tags_of_config(config: dict) -> Iterator[str]:
    """A model's kind, how its weights were made smaller, and to how many bits."""
    quantization = config.get("quantization_config", {})
    for name in (config.get("model_type"), quantization.get("quant_method")):
        if _is_text(name):
            yield name
    for bits in (4, 8):
        if quantization.get("bits") == bits or quantization.get(f"load_in_{bits}bit") is True:
            yield f"{bits}-bit"


def _relation(bases: list[str], tags: Collection[str], paths: list[str], quantized: bool) -> str:
    """How a model came from its base models, where its card does not say: told, as on the real Hub, by its files."""
    if len(bases) > 1:
        return "merge"
    if "peft" in tags or "lora" in tags or "adapter_config.json" in paths:
        return "adapter"
    if quantized or any(path.endswith(".gguf") for path in paths) or not QUANTIZED.isdisjoint(tags):
        return "quantized"
    return "finetune"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(item) for item in value)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(item) for item in values if isinstance(item, (str, int, bool))]
