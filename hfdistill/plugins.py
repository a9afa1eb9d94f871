"""Parts that are chosen by name in a config: built-in ones, and those that an installed package adds."""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from .errors import HFDistillError, unknown


def installed(group: str, built_in: dict[str, str]) -> dict[str, str]:
    """Names in an entry-point group with where each comes from, `module:Class`; nothing is imported. Built-in names
    win: a package cannot change what they mean.
    """
    return dict(sorted({**_announced(group), **built_in}.items()))


@cache
def _announced(group: str) -> dict[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=group)}


def plugin_class(kind: str, name: str, known: dict[str, str]) -> type:
    """The class behind a name; an unknown name is an error that suggests the nearest one."""
    if name not in known:
        raise unknown(kind, name, known)
    module, _, attribute = known[name].partition(":")
    try:
        return vars(import_module(module))[attribute]
    except (ImportError, KeyError) as error:
        raise HFDistillError(
            f"{kind} '{name}' is announced as {known[name]} but cannot be loaded ({error!r}); "
            "reinstall or remove the package that adds it"
        ) from error


def build(kind: str, section: dict[str, Any], known: dict[str, str]) -> Any:
    """The instance that a section describes: `name`, one of those from [`installed`], and options, the fields of the
    class behind it. `kind` says in messages what it is.
    """
    options = dict(section)
    name = options.pop("name", None)
    if not isinstance(name, str) or not name:
        raise HFDistillError(f"the {kind} section needs a name; installed: {', '.join(known)}")
    plugin = plugin_class(kind, name, known)
    accepted = {field.name: field for field in fields(plugin) if field.init}
    for option in options:
        if option not in accepted:
            raise unknown(f"option of {kind} {name}:", option, accepted)
    for option, field in accepted.items():
        if option not in options and field.default is MISSING and field.default_factory is MISSING:
            raise HFDistillError(f"{kind} {name} needs the option '{option}'")
    return plugin(**options)


def need_extra(what: str, extra: str, *modules: str) -> None:
    """Fail early, in one sentence that begins with `what`, where modules that an extra brings are not installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise HFDistillError(f"{what} needs {', '.join(missing)}: pip install 'hfdistill[{extra}]'")


def resolved(section: dict[str, Any], plugin: Any) -> dict[str, Any]:
    """A section with every option of the instance that [`build`] made of it, those left out included."""
    options = {field.name: vars(plugin)[field.name] for field in fields(plugin) if field.init}
    return {"name": section["name"], **options}
