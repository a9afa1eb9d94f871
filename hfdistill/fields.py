"""Fields of settings: what each means is read from its class's docstring, and what it decides is said at the field.

A field of a section decides the artifact that the section's stage makes, unless its metadata say otherwise:

    batch_size: int = field(default=256, metadata=NO_EFFECT)          # how the stage runs, not what it makes
    labels: str | None = field(default=None, metadata=PARENT)         # the data that it names decides, not the name
    samples: int = field(default=30, metadata=decides("triples"))     # of several artifacts this one
"""

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeVar


T = TypeVar("T", bound=type)

NAMES = r"\w+(?: \([^()]*\))?"
NAME_OF = r"(\w+)(?: \([^()]*\))?(?:, |$)"
ENTRY = re.compile(rf"({NAMES}(?:, {NAMES})*): (.+)", re.DOTALL)
LINK = re.compile(r"\[`~?(?:[\w.]*\.)?(\w+)`\]")


@dataclass(frozen=True)
class Effect:
    """How a field takes part in the identity of an artifact.

    Attributes:
        kinds (`tuple[str, ...]`): kinds of artifact that it decides. Without any it decides those that no other field
            of its class names.
        unless (`tuple[str, ...]`): kinds that it does not decide.
        when (`tuple[str, ...]`): fields of which one must be set, or this one matters to nothing.
        value (`Callable`, *optional*): what is recorded instead of the value, made of the values of all fields and the
            [`~hfdistill.config.Config`].
        if_changed (`bool`): whether it is recorded only where it differs from its default: for the fields of a
            library, whose next version may have more of them.
    """

    kinds: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    value: Callable[[Mapping[str, Any], Any], Any] | None = None
    if_changed: bool = False


DECIDES = Effect()
NO_EFFECT: dict[str, None] = {"effect": None}
PARENT: dict[str, None] = {"effect": None}


def decides(*kinds: str, **how: Any) -> dict[str, Effect]:
    """Metadata of a field whose part in the identity is not the plain one, see [`Effect`]."""
    return {"effect": Effect(kinds, **how)}


def or_of_the_task(name: str, option: str) -> Callable[[Mapping[str, Any], Any], Any]:
    """For [`Effect.value`]: the field `name`, or where it was left out the task's option, which stands in for it."""
    return lambda asked, config: asked[name] or config.task_options[option]


def section(inherited: Mapping[str, Effect | None] = MappingProxyType({})) -> Callable[[T], T]:
    """Decorate a dataclass of settings: take each own field's help from `Args:`, and note what it decides.

    Metadata then hold nothing that argparse does not know, so that `HfArgumentParser` and `TrlParser` take the class.

    Args:
        inherited (`Mapping[str, Effect | None]`, *optional*): what the fields of a library's dataclass decide, where
            the class has one as its base; one that is not named is recorded if it was changed.
    """

    def decorate(cls: T) -> T:
        described = read_args(cls.__doc__ or "")
        own = cls.__annotations__
        effects = dict(effects_of(cls.__base__) or {})
        for field in dataclasses.fields(cls):
            if field.name not in own:
                effects.setdefault(field.name, inherited.get(field.name, Effect(if_changed=True)))
                continue
            metadata = dict(field.metadata)
            effects[field.name] = metadata.pop("effect", effects.get(field.name, inherited.get(field.name, DECIDES)))
            inherited_field = getattr(cls.__base__, "__dataclass_fields__", {}).get(field.name)
            if field.name in described:
                metadata["help"] = described[field.name]
            elif inherited_field and "help" in inherited_field.metadata:
                metadata["help"] = inherited_field.metadata["help"]
            field.metadata = MappingProxyType(metadata)
        cls._effects = effects
        return cls

    return decorate


def effects_of(cls: type) -> dict[str, Effect | None] | None:
    """What each field of a [`section`] decides, `None` for one that decides nothing; `None` for another class."""
    return vars(cls).get("_effects")


def recorded(cls: type, values: Mapping[str, Any], kind: str, config: Any = None) -> dict[str, Any]:
    """The settings among `values` that decide an artifact, as plain JSON.

    Args:
        cls (`type`): the dataclass that they are settings of.
        values (`Mapping`): as they were asked for, defaults filled in.
        kind (`str`): of the artifact.
        config ([`~hfdistill.config.Config`], *optional*): for what is recorded in a value's place.
    """
    effects = effects_of(cls)
    if effects is None:
        return {name: plain(value) for name, value in values.items()}
    present = {name: effect for name, effect in effects.items() if effect and name in values}
    chosen = {name: effect for name, effect in present.items() if kind in effect.kinds}
    chosen = chosen or {name: effect for name, effect in present.items() if not effect.kinds}
    defaults = {field.name: field for field in dataclasses.fields(cls)}
    made = {}
    for name, effect in chosen.items():
        if kind in effect.unless or (effect.when and not any(values[other] for other in effect.when)):
            continue
        value = plain(effect.value(values, config) if effect.value else values[name])
        if not effect.if_changed or value != plain(_default(defaults[name])):
            made[name] = value
    return made


def plain(value: Any) -> Any:
    """A setting as JSON: the same for 1 and 1.0, for a list and a tuple, for a mapping and its JSON text."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str) and value.startswith("{"):
        try:
            return plain(json.loads(value))
        except json.JSONDecodeError:
            return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def read_args(docstring: str) -> dict[str, str]:
    """The text of each entry of a docstring's `Args:`, by name; an entry may speak of several names."""
    lines = inspect.cleandoc(docstring).splitlines()
    entries: list[str] = []
    for line in lines[lines.index("Args:") + 1 :] if "Args:" in lines else []:
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     "):
            entries.append(line.strip())
        elif line.strip() and entries:
            entries[-1] += " " + line.strip()
    texts = {}
    for entry in entries:
        found = ENTRY.fullmatch(entry)
        if found:
            # A per cent sign would be a placeholder to argparse.
            text = LINK.sub(r"\1", found[2]).replace("`", "").replace("%", "%%")
            texts |= dict.fromkeys(re.findall(NAME_OF, found[1]), text)
    return texts


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
