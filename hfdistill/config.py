"""One YAML a run: shared sections, and one section a stage whose keys are the fields of that stage's dataclass."""

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import formatannotation
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from .errors import HFDistillError, unknown
from .fields import plain, recorded
from .flags import SECTIONS, keys_of, split_flags, unknown_key
from .kinds import Kind
from .sections import SHARED, AdapterConfig, RunConfig, StudentConfig, TeacherConfig
from .tasks import load_task, resolved


# Fields of stages for which the task's longest response stands in.
LENGTHS = {"max_new_tokens", "max_completion_length"}


@dataclass
class Config:
    """A run's configuration as one stage sees it.

    Attributes:
        run ([`RunConfig`]), teacher ([`TeacherConfig`] or `None`), student ([`StudentConfig`] or `None`): as given.
        task (`dict`): `{"name": …, **options}`, for [`~hfdistill.tasks.load_task`].
        stage (`Any`): instance of the stage's dataclass.
        asked (`dict`): the stage's fields as they were asked for, defaults filled in, those by the run and the
            task included, before anything that depends on the machine was worked out.
        peft ([`AdapterConfig`], *optional*): as given.
    """

    run: RunConfig
    task: dict[str, Any]
    teacher: TeacherConfig | None
    student: StudentConfig | None
    stage: Any
    asked: dict[str, Any]
    peft: AdapterConfig | None = None

    def identity(self, kind: Kind) -> dict[str, Any]:
        """Everything in the configuration that decides an artifact of this kind: what is fingerprinted.

        What each field decides is said where it is declared, see [`hfdistill.fields`].

        Returns:
            `dict[str, Any]`: plain JSON: `task` with every option, and as far as they decide something `seed`,
            `stage`, `teacher`, `student` and `peft`.
        """
        asked = dict(self.asked)
        if "teacher" in asked:  # a stage with such a field asks the teacher where it has endpoints
            asked["teacher"] = bool(asked["teacher"] and self.teacher and self.teacher.endpoints)
        parts = recorded(RunConfig, vars(self.run), kind.name)
        parts |= {"task": plain(resolved(self.task)), "stage": recorded(type(self.stage), asked, kind.name)}
        if self.teacher is not None and asked.get("teacher", True):
            parts["teacher"] = recorded(TeacherConfig, vars(self.teacher), kind.name)
        if self.student is not None:
            parts["student"] = recorded(StudentConfig, vars(self.student), kind.name)
        if self.peft is not None:
            parts["peft"] = recorded(AdapterConfig, vars(self.peft), kind.name)
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
    path, flags, argv = split_flags(sys.argv[1:] if argv is None else argv, stage)
    sections = read_sections(path) if path else {}
    for section, values in flags.items():
        sections.setdefault(section, {}).update(values)

    shared = {}
    for section, cls in SHARED.items():
        shared[section] = _build(section, cls, sections[section])[0] if sections.get(section) else None
    for section in ("run", "teacher" if stage == "label" else "student"):
        if shared[section] is None:
            raise HFDistillError(f"the configuration has no section {section!r}: every run needs one")
    run, task = shared["run"], sections.get("task") or {}
    if not task.get("name"):
        raise HFDistillError("the configuration has no task.name: add `task: {name: gsm8k}`, or --task.name gsm8k")
    defaults = {"output_dir": str(Path(run.output_dir) / (stage + run.suffix)), "seed": run.seed}
    known = keys_of(stage_class)
    for name in LENGTHS & {*known}:
        defaults[name] = load_task(task).max_new_tokens
    label = sections.get("label") or {}
    if "judge" in known and label.get("labeler") and load_task(task).open_ended:
        defaults["judge"] = {"name": label["labeler"], **(plain(label.get("labeler_options")) or {})}
    built, asked = _build(stage, stage_class, sections.get(stage) or {}, argv, defaults)
    return Config(task=task, stage=built, asked=asked, **shared)


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


def _build(
    name: str, cls: type, section: dict[str, Any], argv: Sequence[str] = (), defaults: dict[str, Any] | None = None
) -> tuple[Any, dict[str, Any]]:
    """A section's dataclass, built of file and flags, and its fields as they were asked for."""
    from transformers import HfArgumentParser

    known, hints = keys_of(cls), get_type_hints(cls)
    asks = "-h" in argv or "--help" in argv
    parser = HfArgumentParser(cls, allow_abbrev=False, add_help=asks, exit_on_error=False)
    needed = [action.dest for action in parser._actions if action.required]
    given = {key: value for key, value in (defaults or {}).items() if key in known}
    for key, value in section.items():
        if key not in known:
            raise unknown_key(name, key, known)
        if value is not None or key not in given:
            given[key] = _typed(name, hints[key], parser._option_string_actions[f"--{key}"], value)
    parser.set_defaults(**given)
    for action in parser._actions:
        action.required = False
    try:
        namespace, rest = parser.parse_known_args(argv)
        asked = {key: getattr(namespace, key) for key in known}
        for key in needed:
            if asked[key] is None:
                raise HFDistillError(f"section {name!r} has no key {key!r}: add `{name}: {{{key}: …}}`")
        built = cls(**copy.deepcopy(asked))
    except (ValueError, TypeError, argparse.ArgumentError) as error:
        raise HFDistillError(f"section {name!r}: {error}") from error
    for word in rest:
        if word.startswith("--"):
            raise unknown_key(name, word[2:].partition("=")[0], known, flag=True)
        raise HFDistillError(f"cannot place the argument {word!r}: options are given as --name value")
    return built, asked


def _typed(section: str, hint: Any, action: argparse.Action, value: Any) -> Any:
    """A value of a file as a field's type, read as a flag's text is; one value makes a list of one."""
    types = [get_origin(each) or each for each in (hint, *get_args(hint))]
    many = action.nargs == "+"
    if many and value is None:
        return None if type(None) in types else []
    if not many and type(value) in types:
        return value

    def read(item: Any) -> Any:
        if isinstance(item, dict) and many and action.type is str and section not in SHARED:
            return item  # a name with options
        if item is None or isinstance(item, dict | list):
            raise TypeError
        return action.type("no" if item is False else str(item))  # YAML reads `no` as false

    try:
        items = [read(item) for item in (value if many and isinstance(value, list) else [value])]
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        wanted = formatannotation(hint)
        raise HFDistillError(f"{section}.{action.dest} must be {wanted}, not {value!r}") from error
    return items if many else items[0]
