"""How a command line reaches the sections of a configuration: dotted flags, `--set`, and keys that have a new name."""

import dataclasses
import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from .errors import HFDistillError, unknown
from .kinds import STAGES
from .sections import SHARED


SECTIONS = (*SHARED, "task", *STAGES)

# Where a key of a stage's section is now.
RENAMED = {
    "label": {
        key: f"teacher.{key}"
        for key in (
            *("concurrency", "timeout", "tries", "patience", "max_requests", "max_cost"),
            *("gpu_hour_price", "input_price", "output_price"),
        )
    },
    "warmup": {"teacher": "warmup.labels"},
    "reward": {"teacher": "reward.labels"},
    "ppo": {
        "teacher": "ppo.labels",
        "reward_variant": "ppo.rewards: [{name: distilled, variant: …}]",
        "reward_function": "ppo.rewards: [{name: distilled, function: …}]",
    },
}


def stage_class(stage: str) -> type:
    """The dataclass of a stage's section."""
    module, _, name = STAGES[stage].settings.partition(":")
    return getattr(importlib.import_module(module), name)


def unknown_key(section: str, key: str, known: Iterable[str], flag: bool = False) -> HFDistillError:
    """The error for a key that a section has not: its new name, if it was renamed, or the nearest known one.

    Args:
        section (`str`): where it stands.
        key (`str`): its name.
        known (`Iterable[str]`): every name that the section has.
        flag (`bool`, *optional*, defaults to `False`): whether it was given as `--key`.
    """
    if now := RENAMED.get(section, {}).get(key):
        on_the_command_line = now.removeprefix(f"{section}.").replace(": [", " '").replace("]", "'")
        return HFDistillError(f"{section}.{key} is {now} now, on the command line --{on_the_command_line}")
    if flag:
        return unknown(f"option of stage {section!r}:", f"--{key}", [f"--{name}" for name in known])
    return unknown(f"key in section {section!r}:", key, known)


def stage_flags(settings: Sequence[str], stage: str) -> list[str]:
    """What `--set` gives, as the flags of one stage.

    Args:
        settings (`Sequence[str]`): each `section.key=value`, the value in YAML.
        stage (`str`): the stage; settings of other stages are checked, and left out.

    Returns:
        `list[str]`: dotted flags, `--section.key=value`.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: for a setting that reads otherwise, or an unknown section or key.
    """
    flags = []
    for setting in settings:
        name, equals, _ = setting.partition("=")
        section, dot, key = name.partition(".")
        if not (equals and dot and key):
            raise HFDistillError(f"--set {setting!r} does not read section.key=value, as run.seed=1 does")
        if section not in SECTIONS:
            raise unknown(f"section in --set {setting!r}:", section, SECTIONS)
        if section in (*SHARED, "task", stage):
            flags.append(f"--{setting}")
        elif key not in (known := keys_of(section)):
            raise unknown_key(section, key, known)
    return flags


def keys_of(section: str) -> list[str]:
    """The keys of a section that has a dataclass."""
    settings = SHARED[section] if section in SHARED else stage_class(section)
    return [field.name for field in dataclasses.fields(settings) if field.init]


def take_config(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take `--config FILE` out of the arguments."""
    path, rest, words = None, [], iter(argv)
    for word in words:
        if word == "--config":
            path = next(words, None)
            if path is None:
                raise HFDistillError("--config needs the path of a YAML file")
        elif word.startswith("--config="):
            path = word.removeprefix("--config=")
        else:
            rest.append(word)
    return path, rest


def take_dotted(argv: Sequence[str], stage: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Take `--section.key value…` of the shared sections and the stage's own, and `--overwrite_edits`, out of the
    arguments. Several values, or a list field, make a list.

    Returns:
        `tuple[dict, list[str]]`: values by section and key, and the other arguments.
    """
    flags: dict[str, dict[str, Any]] = {}
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name == "--overwrite_edits":
            given = words.pop(0) if not equals and words and words[0].lower() in ("true", "false") else value
            flags.setdefault("run", {})["overwrite_edits"] = yaml.safe_load(given or "true")
            continue
        section, dot, key = name[2:].partition(".") if name.startswith("--") else ("", "", "")
        if not dot:
            rest.append(word)
            continue
        if section not in SECTIONS:
            raise unknown(f"section in {name}:", section, SECTIONS)
        if section not in (*SHARED, "task", stage):
            raise HFDistillError(f"{name} is of another stage than {stage!r}: leave it out, or give it to that stage")
        values = [value] if equals else []
        while not equals and words and not words[0].startswith("--"):
            values.append(words.pop(0))
        if not values:
            raise HFDistillError(f"{word} needs a value")
        values = [_read(name, value) for value in values]
        is_list = section in SHARED and any(f.name == key and f.type == list[str] for f in _fields(section))
        several = len(values) > 1 or (is_list and not isinstance(values[0], list))
        flags.setdefault(section, {})[key] = values if several else values[0]
    return flags, rest


def _fields(section: str) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(SHARED[section])


def _read(name: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise HFDistillError(f"{name} is {value!r}, which is no YAML: {' '.join(str(error).split())}") from error
