"""How a command line reaches the sections of a configuration: dotted flags, `--set`, and keys that have a new name."""

import argparse
import dataclasses
import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from .errors import HFDistillError, unknown
from .kinds import STAGES
from .sections import SHARED


SECTIONS = (*SHARED, "task", *STAGES)

ASKING = "concurrency timeout tries patience max_requests max_cost gpu_hour_price input_price output_price"
# Where a key of a stage's section is now.
RENAMED = {
    "label": {key: f"teacher.{key}" for key in ASKING.split()},
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
    """The error for a key, or `--key`, that a section has not: its new name, if it has one, or the nearest known."""
    if now := RENAMED.get(section, {}).get(key):
        on_the_command_line = now.removeprefix(f"{section}.").replace(": [", " '").replace("]", "'")
        return HFDistillError(f"{section}.{key} is {now} now, on the command line --{on_the_command_line}")
    if flag:
        return unknown(f"option of stage {section!r}:", f"--{key}", [f"--{name}" for name in known])
    return unknown(f"key in section {section!r}:", key, known)


def stage_flags(settings: Sequence[str], stage: str) -> list[str]:
    """What `--set` gives, `section.key=value` each, as the dotted flags of one stage; settings of other stages are
    checked, and left out.
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
        elif key not in (known := keys_of(stage_class(section))):
            raise unknown_key(section, key, known)
    return flags


def keys_of(settings: type) -> list[str]:
    """The keys of a section that has this dataclass."""
    return [field.name for field in dataclasses.fields(settings) if field.init]


def split_flags(argv: Sequence[str], stage: str) -> tuple[str | None, dict[str, dict[str, Any]], list[str]]:
    """Take `--config FILE`, `--section.key value…` of the shared sections and the stage's own, and `--overwrite_edits`
    out of the arguments: the file, values by section and key (several make a list), and the other arguments.
    """
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS, exit_on_error=False
    )
    parser.add_argument("--config", default=None)
    parser.add_argument("--overwrite_edits", dest="run.overwrite_edits", nargs="?", const="true")
    words: list[str] = []
    for word in argv:
        if words and re.match("-[^-]", word) and re.fullmatch(r"--\w+\.\w+", words[-1]):
            words[-1] += f"={word}"  # without = argparse takes no value that begins with a dash, as a suffix does
        else:
            words.append(word)
    for name in sorted({word.partition("=")[0] for word in words if re.match(r"--\w+\.", word)}):
        section = name[2:].partition(".")[0]
        if section not in SECTIONS:
            raise unknown(f"section in {name}:", section, SECTIONS)
        if section not in (*SHARED, "task", stage):
            raise HFDistillError(f"{name} is of another stage than {stage!r}: leave it out, or give it to that stage")
        parser.add_argument(name, dest=name[2:], nargs="+")
    try:
        found, rest = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise HFDistillError(str(error)) from error
    flags: dict[str, dict[str, Any]] = {}
    for name, words in vars(found).items():
        section, dot, key = name.partition(".")
        if dot:
            values = [_read(name, word) for word in ([words] if isinstance(words, str) else words)]
            flags.setdefault(section, {})[key] = values if len(values) > 1 else values[0]
    return found.config, flags, rest


def _read(name: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise HFDistillError(f"{name} is {value!r}, which is no YAML: {' '.join(str(error).split())}") from error
