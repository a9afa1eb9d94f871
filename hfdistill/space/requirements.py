"""What a Space has to install: pins of what is installed here, the package of the run's task, and PyTorch's build."""

import json
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

from ..errors import HFDistillError


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
OURS = "hfdistill"


def pin(requirement: str) -> str:
    """A requirement at the version that is installed here, without the mark of a local build (`+cpu`)."""
    name = NAME.match(requirement)[0]
    return f"{name}=={metadata.version(name).partition('+')[0]}"


def space_requirements(
    listed: Iterable[str], task: dict[str, Any] | str, more: Sequence[str] = (), index: str | None = None
) -> list[str]:
    """Lines of the Space's `requirements.txt`.

    Args:
        listed (`Iterable[str]`): what the page itself needs.
        task (`dict` or `str`): the run's task; where a plug-in adds it, its package is needed, too.
        more (`Sequence[str]`, *optional*): as given by the user.
        index (`str`, *optional*): a further index of packages, which has PyTorch's CPU builds; torch is then one.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the task's package is installed here from a folder, so that a Space
            could not install it.
    """
    pins = [pin(line) for line in listed]
    if index is not None:
        pins = [f"{line}+cpu" if line.startswith("torch==") else line for line in pins]
    given = {_plain(NAME.match(line)[0]) for line in more if NAME.match(line)}
    own = task_package(task["name"] if isinstance(task, dict) else task)
    added = []
    if own is not None and _plain(own.name) not in given:
        if own.read_text("direct_url.json") is not None:
            address = json.loads(own.read_text("direct_url.json"))["url"]
            raise HFDistillError(
                f"the run's task comes from the package {own.name}, which is installed from {address} and not from an "
                f"index, so that the Space could not install it: publish it, and name it by --requirement"
            )
        added = [f"{own.name}=={own.version}"]
    return [*([f"--extra-index-url {index}"] if index else []), *pins, *added, *more]


def task_package(name: str) -> metadata.Distribution | None:
    """The package that adds a task; `None` for a task of our own."""
    for entry in metadata.entry_points(group="hfdistill.tasks"):
        if entry.name == name and entry.dist is not None and _plain(entry.dist.name) != OURS:
            return entry.dist
    return None


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
