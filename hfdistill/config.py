"""One YAML a run: shared sections, and one section a stage whose keys are the fields of that stage's dataclass."""

import argparse
import dataclasses
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import HFDistillError, unknown
from .kinds import STAGES
from .sections import RunConfig, StudentConfig, TeacherConfig


# Fields that change where and how a stage runs, but not what it makes.
WITHOUT_EFFECT = {
    "dataloader_num_workers",
    "disable_tqdm",
    "first_look",
    "log_level",
    "logging_dir",
    "logging_steps",
    "logging_strategy",
    "output_dir",
    "report_to",
    "resume_from_checkpoint",
    "retry_failed",
    "save_total_limit",
    "sync_every",
}


SHARED = {"run": RunConfig, "teacher": TeacherConfig, "student": StudentConfig}


@dataclass
class Config:
    """A run's configuration as one stage sees it.

    Attributes:
        run ([`RunConfig`]), teacher ([`TeacherConfig`] or `None`), student ([`StudentConfig`] or `None`): as given.
        task (`dict`): `{"name": …, **options}`, for [`~hfdistill.tasks.load_task`].
        stage (`Any`): instance of the stage's dataclass.
        given (`dict`): the stage's fields that were set by file or flag, as they were set.
    """

    run: RunConfig
    task: dict[str, Any]
    teacher: TeacherConfig | None
    student: StudentConfig | None
    stage: Any
    given: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """Everything in the configuration that decides what the stage makes: what is fingerprinted."""
        stage = {name: value for name, value in sorted(self.given.items()) if name not in WITHOUT_EFFECT}
        return {"seed": self.run.seed, "task": self.task, "stage": stage}


def load_config(stage: str, stage_class: type, argv: list[str] | None = None) -> Config:
    """Read `--config FILE` and flags for one stage.

    Every field of `stage_class` is a flag (`--learning_rate 1e-5`); the shared sections are dotted flags
    (`--run.seed 3`, `--student.model namespace/name`, `--task.shots 0`). Flags win over the file.

    Args:
        stage (`str`): name of the section, one of [`~hfdistill.kinds.STAGES`].
        stage_class (`type`): its dataclass.
        argv (`list[str]`, *optional*): arguments; the process's by default.

    Returns:
        [`Config`]

    Raises:
        [`~hfdistill.errors.HFDistillError`]: for a missing file, section or key, an unknown one (with the nearest
            known one), or a value of the wrong type.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    path, argv = _take_config(argv)
    sections = read_sections(path) if path else {}
    flags, argv = _take_dotted(argv)
    for section, values in flags.items():
        sections.setdefault(section, {}).update(values)

    run = _build("run", sections.get("run"), required=True)
    teacher = _build("teacher", sections.get("teacher"), required=stage == "label")
    student = _build("student", sections.get("student"), required=stage != "label")
    task = sections.get("task") or {}
    if not task.get("name"):
        raise HFDistillError("the configuration has no task.name: add `task: {name: gsm8k}`, or --task.name gsm8k")
    defaults = {}
    names = {f.name for f in dataclasses.fields(stage_class)}
    if "output_dir" in names:
        defaults["output_dir"] = str(Path(run.output_dir) / (stage + run.suffix))
    if "seed" in names:
        defaults["seed"] = run.seed
    built, given = parse_stage(stage, stage_class, sections.get(stage) or {}, argv, defaults)
    return Config(run, task, teacher, student, built, given)


def read_sections(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a run's YAML into its sections and check their names."""
    path = Path(path)
    if not path.is_file():
        raise HFDistillError(f"no configuration at {str(path)!r}: give --config an existing YAML file")
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HFDistillError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    known = [*SHARED, "task", *STAGES]
    for name, section in sections.items() if isinstance(sections, dict) else [(str(sections), None)]:
        if name not in known:
            raise unknown(f"section in {path}:", name, known)
        if section is not None and not isinstance(section, dict):
            raise HFDistillError(f"section {name!r} of {path} must hold keys and values, not {section!r}")
    return {name: section or {} for name, section in sections.items()}


def stage_class(stage: str) -> type:
    """The dataclass of a stage's section."""
    module, _, name = STAGES[stage].settings.partition(":")
    return getattr(importlib.import_module(module), name)


def parse_stage(
    stage: str, stage_class: type, section: dict[str, Any], argv: list[str], defaults: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Build a stage's dataclass from its section and flags.

    Returns:
        `tuple[Any, dict]`: the instance, and the fields that were given.
    """
    from transformers import HfArgumentParser

    known = {f.name for f in dataclasses.fields(stage_class) if f.init}
    for key in section:
        if key not in known:
            raise unknown(f"key in section {stage!r}:", key, known)
    parser = HfArgumentParser(stage_class, allow_abbrev=False, add_help="-h" in argv or "--help" in argv)

    def fail(message: str) -> None:
        raise HFDistillError(f"section {stage!r}: {message}")

    parser.error = fail
    lists = {action.dest: action for action in parser._actions if action.nargs == "+"}
    section = {key: _listed(stage, lists[key], value) if key in lists else value for key, value in section.items()}
    parser.set_defaults(**{**defaults, **section})
    for action in parser._actions:
        action.required = action.required and action.dest not in section
    try:
        built, rest = parser.parse_args_into_dataclasses(args=argv, return_remaining_strings=True)
    except (ValueError, TypeError) as error:
        raise HFDistillError(f"section {stage!r}: {error}") from error
    for word in rest:
        if word.startswith("--"):
            raise unknown(f"option of stage {stage!r}:", word, [f"--{name}" for name in known])
    if rest:
        raise HFDistillError(f"cannot place the argument {rest[0]!r}: options are given as --name value")
    flagged = {
        action.dest for action in parser._actions for word in argv if word.split("=")[0] in action.option_strings
    }
    return built, {name: getattr(built, name) for name in known if name in section or name in flagged}


def _listed(stage: str, action: argparse.Action, value: Any) -> list[Any] | None:
    """What a file gives for a list: one value makes a list of one, none makes an empty one where there must be one."""
    if value is None:
        return None if action.default is None else []
    items = value if isinstance(value, list) else [value]
    try:
        return [item if action.type is str and isinstance(item, dict) else action.type(item) for item in items]
    except (ValueError, TypeError) as error:
        raise HFDistillError(f"section {stage!r}: {action.dest} is {value!r}: {error}") from error


def _take_config(argv: list[str]) -> tuple[str | None, list[str]]:
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


def _take_dotted(argv: list[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Take `--section.key value…` out of the arguments; several values, or a list field, make a list."""
    flags: dict[str, dict[str, Any]] = {}
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        section, dot, key = word[2:].partition(".") if word.startswith("--") else ("", "", "")
        if not dot or section not in (*SHARED, "task"):
            rest.append(word)
            continue
        key, equals, value = key.partition("=")
        values = [value] if equals else []
        while not equals and words and not words[0].startswith("--"):
            values.append(words.pop(0))
        if not values:
            raise HFDistillError(f"{word} needs a value")
        values = [yaml.safe_load(value) for value in values]
        is_list = section in SHARED and any(f.name == key and f.type == list[str] for f in _fields(section))
        flags.setdefault(section, {})[key] = values if is_list or len(values) > 1 else values[0]
    return flags, rest


def _fields(section: str) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(SHARED[section])


def _build(section: str, values: dict[str, Any] | None, required: bool) -> Any:
    if not values:
        if required:
            raise HFDistillError(f"the configuration has no section {section!r}: every run needs one")
        return None
    fields = {f.name: f for f in _fields(section)}
    lists = {name for name, f in fields.items() if f.type == list[str]}
    values = {key: [value] if key in lists and isinstance(value, str) else value for key, value in values.items()}
    for key, value in values.items():
        if key not in fields:
            raise unknown(f"key in section {section!r}:", key, fields)
        _check_type(section, fields[key], value)
    for name, f in fields.items():
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in values:
            raise HFDistillError(f"section {section!r} has no key {name!r}: add `{section}: {{{name}: …}}`")
    return SHARED[section](**values)


def _check_type(section: str, f: dataclasses.Field, value: Any) -> None:
    accepted = {
        str: str,
        str | None: (str, type(None)),
        int: int,
        int | None: (int, type(None)),
        float: (float, int),
        float | None: (float, int, type(None)),
        bool: bool,
        list[str]: list,
    }[f.type]
    right = isinstance(value, accepted) and (f.type is bool or not isinstance(value, bool))
    if right and f.type == list[str]:
        right = all(isinstance(item, str) for item in value)
    if not right:
        wanted = f.type.__name__ if isinstance(f.type, type) else str(f.type)
        raise HFDistillError(f"{section}.{f.name} must be {wanted}, not {value!r}")
