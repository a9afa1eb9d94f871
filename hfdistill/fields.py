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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .errors import HFDistillError, unknown


Values = Mapping[str, Any]

NAMED = r"\w+(?: \([^()]*\))?"
ENTRY = re.compile(rf"({NAMED}(?:, {NAMED})*): (.+)")
LINK = re.compile(r"\[`~?(?:[\w.]*\.)?(\w+)`\]")


@dataclass(frozen=True)
class Effect:
    """How a field takes part in the identity of an artifact.

    Attributes:
        kinds (`tuple[str, ...]`): kinds of artifact that it decides. Without any it decides those that no other field
            of its class names.
        also (`tuple[str, ...]`): kinds that it decides besides.
        unless (`tuple[str, ...]`): kinds that it does not decide.
        when (`Callable`, *optional*): whether it matters, told by the values of all fields.
        value (`Callable`, *optional*): what is recorded instead of the value, made of the values of all fields.
        if_changed (`bool`): whether it is recorded only where it differs from its default: for the fields of a
            library, whose next version may have more of them.
    """

    kinds: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    when: Callable[[Values], Any] | None = None
    value: Callable[[Values], Any] | None = None
    if_changed: bool = False


DECIDES = Effect()
NO_EFFECT: dict[str, None] = {"effect": None}
PARENT: dict[str, None] = {"effect": None}


def decides(*kinds: str, **how: Any) -> dict[str, Effect]:
    """Metadata of a field whose part in the identity is not the plain one, see [`Effect`]."""
    return {"effect": Effect(kinds, **how)}


def section(inherited: Mapping[str, Effect | None] = MappingProxyType({})) -> Callable[[type], type]:
    """Decorate a dataclass of settings: take each own field's help from `Args:`, and note what it decides.

    Metadata then hold nothing that argparse does not know, so that `HfArgumentParser` and `TrlParser` take the class.

    Args:
        inherited (`Mapping[str, Effect | None]`, *optional*): what the fields of a library's dataclass decide, where
            the class has one as its base; one that is not named is recorded if it was changed.
    """

    def decorate(cls: type) -> type:
        described = read_args(cls.__doc__ or "")
        before = getattr(cls.__base__, "__dataclass_fields__", {})
        known = {**inherited, **(effects_of(cls.__base__) or {})}
        cls._effects = {}
        for field in dataclasses.fields(cls):
            own = field.name in cls.__annotations__
            metadata = dict(field.metadata)
            plainly = DECIDES if own else Effect(if_changed=True)
            cls._effects[field.name] = metadata.pop("effect", known.get(field.name, plainly))
            if own and field.name in described:
                metadata["help"] = described[field.name]
            elif own and field.name in before:
                metadata = {**before[field.name].metadata, **metadata}
            field.metadata = MappingProxyType(metadata)
        return cls

    return decorate


def effects_of(cls: type) -> dict[str, Effect | None] | None:
    """What each field of a [`section`] decides, `None` for one that decides nothing; `None` for another class."""
    return vars(cls).get("_effects")


def recorded(cls: type, values: Values, kind: str) -> dict[str, Any]:
    """What decides an artifact of a kind among settings of a dataclass, as they were asked for; as plain JSON."""
    effects = effects_of(cls)
    if effects is None:
        return plain(values)
    present = {name: effect for name, effect in effects.items() if effect and name in values}
    chosen = {name: effect for name, effect in present.items() if kind in effect.kinds}
    chosen = chosen or {name: effect for name, effect in present.items() if not effect.kinds}
    chosen |= {name: effect for name, effect in present.items() if kind in effect.also}
    made = {}
    for name, effect in chosen.items():
        if kind in effect.unless or (effect.when and not effect.when(values)):
            continue
        value = plain(effect.value(values) if effect.value else values[name])
        field = cls.__dataclass_fields__[name]
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if not effect.if_changed or value != plain(default):
            made[name] = value
    return made


def plain(value: Any) -> Any:
    """A setting as JSON: the same for 1 and 1.0, for a list and a tuple, for a mapping and its JSON text."""
    if isinstance(value, str) and value.startswith("{"):
        with suppress(json.JSONDecodeError):
            value = json.loads(value)

    def number(text: str) -> float:
        return int(float(text)) if float(text).is_integer() else float(text)

    return json.loads(json.dumps(value, default=str), parse_float=number)


def read_args(docstring: str) -> dict[str, str]:
    """The text of each entry of a docstring's `Args:`, by name; an entry may speak of several names."""
    found = re.search(r"^Args:((?:\n    .*|\n)*)", inspect.cleandoc(docstring), re.MULTILINE)
    texts = {}
    for entry in re.split(r"\n    (?! )", found[1] if found else "")[1:]:
        if said := ENTRY.fullmatch(" ".join(entry.split())):
            # A per cent sign would be a placeholder to argparse.
            text = LINK.sub(r"\1", said[2]).replace("`", "").replace("%", "%%")
            texts |= dict.fromkeys(re.findall(r"(\w+)(?: \([^()]*\))?(?:, |$)", said[1]), text)
    return texts


def check_positive(prefix: str, settings: Any, *names: str) -> None:
    """Refuse what is 0 or less among these settings, where they are set; `prefix` stands before a name."""
    for name in names:
        value = vars(settings)[name]
        if value is not None and value <= 0:
            raise HFDistillError(f"{prefix}{name} is {value}: it must be positive")


def check_choices(prefix: str, settings: Any, **known: Sequence[str]) -> None:
    """Refuse what is none of the values that a setting may have; `prefix` stands before a name."""
    for name, choices in known.items():
        if vars(settings)[name] not in choices:
            raise unknown(f"value of {prefix}{name}:", vars(settings)[name], choices)
