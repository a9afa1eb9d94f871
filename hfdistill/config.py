"""One YAML a run: shared sections, and one section a stage whose keys are the fields of that stage's dataclass."""

import argparse
import copy
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import HFDistillError, unknown
from .fields import plain, recorded
from .flags import SECTIONS, stage_class, take_config, take_dotted, unknown_key
from .kinds import Kind
from .sections import SHARED, RunConfig, StudentConfig, TeacherConfig
from .tasks import resolved


__all__ = [
    "Config",
    "RunConfig",
    "StudentConfig",
    "TeacherConfig",
    "load_config",
    "read_sections",
    "stage_class",
]


@dataclass
class Config:
    """A run's configuration as one stage sees it.

    Attributes:
        run ([`RunConfig`]), teacher ([`TeacherConfig`] or `None`), student ([`StudentConfig`] or `None`): as given.
        task (`dict`): `{"name": …, **options}`, for [`~hfdistill.tasks.load_task`].
        stage (`Any`): instance of the stage's dataclass.
        asked (`dict`): the stage's fields as they were asked for, defaults filled in, before anything that depends on
            the machine was worked out.
    """

    run: RunConfig
    task: dict[str, Any]
    teacher: TeacherConfig | None
    student: StudentConfig | None
    stage: Any
    asked: dict[str, Any]

    @property
    def task_options(self) -> dict[str, Any]:
        """The task with every option."""
        return resolved(self.task)

    def identity(self, kind: Kind) -> dict[str, Any]:
        """Everything in the configuration that decides an artifact, resolved: what is fingerprinted.

        What each field decides is said where it is declared, see [`hfdistill.fields`].

        Args:
            kind ([`~hfdistill.kinds.Kind`]): of the artifact; the stage may make several.

        Returns:
            `dict[str, Any]`: plain JSON: `task` with every option, and as far as they decide something `seed`,
            `stage`, `teacher` and `student`.
        """
        stage = recorded(type(self.stage), self.asked, kind.name, self)
        parts: dict[str, Any] = recorded(RunConfig, vars(self.run), kind.name)
        parts |= {"task": plain(self.task_options), "stage": stage}
        # A stage with a field of this name asks the teacher only if it is true.
        if self.teacher is not None and stage.get("teacher", True):
            parts["teacher"] = recorded(TeacherConfig, vars(self.teacher), kind.name)
        if self.student is not None:
            parts["student"] = recorded(StudentConfig, vars(self.student), kind.name)
        return {name: part for name, part in parts.items() if part != {}}


def load_config(stage: str, stage_class: type, argv: list[str] | None = None) -> Config:
    """Read `--config FILE` and flags for one stage.

    Every field of `stage_class` is a flag (`--learning_rate 1e-5`); the shared sections are dotted flags
    (`--run.seed 3`, `--student.model namespace/name`, `--task.shots 0`), and `--overwrite_edits` is one of theirs.
    Flags win over the file.

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
    path, argv = take_config(argv)
    sections = read_sections(path) if path else {}
    flags, argv = take_dotted(argv, stage)
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
    built, asked = parse_stage(stage, stage_class, sections.get(stage) or {}, argv, defaults)
    return Config(run, task, teacher, student, built, asked)


def read_sections(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a run's YAML into its sections and check their names."""
    path = Path(path)
    if not path.is_file():
        raise HFDistillError(f"no configuration at {str(path)!r}: give --config an existing YAML file")
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HFDistillError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    for name, section in sections.items() if isinstance(sections, dict) else [(str(sections), None)]:
        if name not in SECTIONS:
            raise unknown(f"section in {path}:", name, SECTIONS)
        if section is not None and not isinstance(section, dict):
            raise HFDistillError(f"section {name!r} of {path} must hold keys and values, not {section!r}")
    return {name: section or {} for name, section in sections.items()}


def parse_stage(
    stage: str, stage_class: type, section: dict[str, Any], argv: list[str], defaults: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Build a stage's dataclass from its section and flags.

    Returns:
        `tuple[Any, dict]`: the instance, and its fields as they were asked for.
    """
    from transformers import HfArgumentParser

    known = [f.name for f in dataclasses.fields(stage_class) if f.init]
    for key in section:
        if key not in known:
            raise unknown_key(stage, key, known)
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
        namespace, rest = parser.parse_known_args(argv)
        asked = {name: getattr(namespace, name) for name in known}
        built = stage_class(**copy.deepcopy(asked))
    except (ValueError, TypeError) as error:
        raise HFDistillError(f"section {stage!r}: {error}") from error
    for word in rest:
        if word.startswith("--"):
            raise unknown_key(stage, word[2:].partition("=")[0], known, flag=True)
    if rest:
        raise HFDistillError(f"cannot place the argument {rest[0]!r}: options are given as --name value")
    return built, asked


def _listed(stage: str, action: argparse.Action, value: Any) -> list[Any] | None:
    """What a file gives for a list: one value makes a list of one, none makes an empty one where there must be one."""
    if value is None:
        return None if action.default is None else []
    items = value if isinstance(value, list) else [value]
    try:
        return [item if action.type is str and isinstance(item, dict) else action.type(item) for item in items]
    except (ValueError, TypeError) as error:
        raise HFDistillError(f"section {stage!r}: {action.dest} is {value!r}: {error}") from error


def _build(section: str, values: dict[str, Any] | None, required: bool) -> Any:
    if not values:
        if required:
            raise HFDistillError(f"the configuration has no section {section!r}: every run needs one")
        return None
    fields = {f.name: f for f in dataclasses.fields(SHARED[section])}
    lists = {name for name, f in fields.items() if f.type == list[str]}
    values = {key: [value] if key in lists and isinstance(value, str) else value for key, value in values.items()}
    for key, value in values.items():
        if key not in fields:
            raise unknown_key(section, key, fields)
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
