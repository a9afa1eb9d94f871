"""The manifest of an artifact, `hfdistill.json`: what it was made from, how, and its identity; no secret is in it, and
no address of an endpoint."""

import datetime
import hashlib
import json
import os
import platform
import re
import shlex
import sys
import urllib.parse
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..config import Config
from ..fields import plain
from ..kinds import Kind
from .digests import data_files, digest_of, hash_file
from .inherited import inherited
from .references import FORMAT, Artifact


if TYPE_CHECKING:
    from ..encoding import Encoder

PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "huggingface_hub")
# What of the shared sections describes the models; addresses and names of secrets stay on the machine.
TEACHER_KEYS = ("model", "kind", "chat", "shots", "system_prompt", "license")
STUDENT_KEYS = (
    *("model", "revision", "dtype", "license"),
    *("pad_token", "chat", "system_prompt", "prefill", "chat_template_kwargs"),
)
# What a new version may differ in.
TOLD = ("config", "parents", "digests", "teacher", "student", "versions")
UNSET = "not set"
# A made-up token such as "none" is no secret, and hiding it would blot out words.
SHORTEST_TOKEN = 12
# Flags that speak of tokens and hold none.
NO_SECRETS = ("_env", "_tokens", "token_budget", "token_id", "pad_token")
# What stands before the last name of an absolute path: it says whose machine it was, and is found on no other.
FOLDERS = re.compile(r"(?<![^=,\[\"'\s])(?:/|~/)(?:(?!recipes/)[^/=,\[\]\"'\s]+/)+")
TOKEN = re.compile(r"hf_[A-Za-z0-9]{16,}|(?<=://)[^/@\s]+@")


def fingerprint(kind: Kind, config: Config, parents: dict[str, Artifact]) -> str:
    """Identity of an artifact: its kind, every setting with an effect, and the data of its parents.

    It is the same wherever the parents are: on one Hub, on another, or in folders.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    content = {"kind": kind.name, "config": config.identity(kind), "digests": _digests(parents)}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def manifest(
    kind: Kind,
    config: Config,
    parents: dict[str, Artifact],
    metrics: dict[str, Any] | None = None,
    cost: dict[str, Any] | None = None,
    encoder: "Encoder | None" = None,
) -> dict[str, Any]:
    """Build the content of `hfdistill.json`; [`~hfdistill.artifacts.store.Store.publish`] adds [`recorded`].

    Args:
        kind ([`~hfdistill.kinds.Kind`]): of the artifact.
        config ([`~hfdistill.config.Config`]): the configuration it ran with.
        parents (`dict[str, Artifact]`): what it was made from, by role (`"labels"`, `"warmup"`, …).
        metrics (`dict`, *optional*): figures measured.
        cost (`dict`, *optional*): what it took, for example `{"seconds": 12.3, "requests": 51000}`.
        encoder ([`~hfdistill.encoding.Encoder`], *optional*): of a model, for the code on its card.
    """
    content = {
        "format": FORMAT,
        "kind": kind.name,
        "stage": kind.stage,
        "run": config.run.name,
        "fingerprint": fingerprint(kind, config, parents),
        "config": config.identity(kind),
        "teacher": {key: vars(config.teacher)[key] for key in TEACHER_KEYS} if config.teacher else None,
        "student": {key: vars(config.student)[key] for key in STUDENT_KEYS} if config.student else None,
        **({} if encoder is None else {"asked": encoder.told()}),
        "parents": {role: parent.ref for role, parent in sorted(parents.items())},
        "digests": _digests(parents),
        "inherited": inherited(parents, config.student.ref.partition("@")[0] if config.student else None),
        "versions": {
            "hfdistill": __version__,
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in PACKAGES},
        },
        "command": _command(sys.argv),
        "metrics": metrics or {},
        "cost": cost or {},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return _scrub(content, {*_secrets(config), *_addresses(config)})


def recorded(folder: Path) -> dict[str, Any]:
    """What a manifest says of its data: `files` (`{path: {"sha256": …, "git": …}}`), and their `digest`."""
    files = {name: hash_file(path) for name, path in data_files(folder).items()}
    return {"files": files, "digest": digest_of({name: keys["sha256"] for name, keys in files.items()})}


def describe_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two manifests of one artifact, a line a difference: settings, parents, versions.

    A parent with the same data is the same, whatever its commit; one with other data is told by its commit, or by its
    digest where the reference stayed what it was, as that of a folder may. An empty `old` gives no line.
    """
    if not old:
        return []
    before, after = _flat({key: old.get(key) for key in TOLD}), _flat({key: new.get(key) for key in TOLD})
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    for role in (old.get("digests") or {}).keys() | (new.get("digests") or {}).keys():
        ref, digest = f"parents.{role}", f"digests.{role}"
        if digest not in changed:
            changed.discard(ref)
        elif ref in changed:
            changed.discard(digest)
    # The sections of the models stand in the manifest twice: what decides the artifact, and what describes it.
    changed -= {
        name.removeprefix("config.") for name in changed if name.startswith(("config.teacher.", "config.student."))
    }
    return [f"{name}: {before.get(name, UNSET)} -> {after.get(name, UNSET)}" for name in sorted(changed)]


def _flat(content: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {} if content is None else {path: content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat.update(_flat(value, f"{path}.{key}" if path else str(key)))
    return flat


def _digests(parents: dict[str, Artifact]) -> dict[str, str]:
    return {role: parent.digest for role, parent in sorted(parents.items())}


def _command(argv: list[str]) -> str:
    """The command as a reader would type it in the project's folder, without secrets."""
    words = [FOLDERS.sub("", _relative(word)) for word in _without_secrets(argv)]
    if words[0].endswith(".py"):
        launched = "ACCELERATE_MIXED_PRECISION" in os.environ
        words = [*(("accelerate", "launch") if launched else ("python",)), *words]
    else:
        words[0] = Path(words[0]).name
    return shlex.join(words)


def _relative(word: str) -> str:
    path = Path(word)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else word


def _without_secrets(argv: list[str]) -> list[str]:
    """Drop values of flags that hold tokens: the command stands in a public manifest."""
    words, hide = [], False
    for word in argv:
        name, equals, _ = word.partition("=")
        secret = name.startswith("--") and ("token" in name or "api_key" in name) and not name.endswith(NO_SECRETS)
        words.append("***" if hide else f"{name}=***" if secret and equals else word)
        hide = secret and not equals
    return words


def _secrets(config: Config) -> set[str]:
    """Tokens that this process knows of."""
    from huggingface_hub import get_token

    names = [config.teacher.api_key_env] if config.teacher and config.teacher.api_key_env else []
    found = [get_token(), *(os.environ.get(name) for name in names)]
    return {secret for secret in found if secret and len(secret) >= SHORTEST_TOKEN}


def _addresses(config: Config) -> set[str]:
    """Addresses of endpoints that the configuration names, and their hosts and ports."""
    addresses = set(config.teacher.endpoints) if config.teacher else set()
    addresses |= set(_endpoints({name: plain(value) for name, value in config.asked.items()}))
    hosts = {urllib.parse.urlsplit(address).netloc.rpartition("@")[2] for address in addresses}
    return {address.rstrip("/") for address in addresses} | {host for host in hosts if ":" in host or "." in host}


def _endpoints(settings: Any, named: bool = False) -> Iterator[str]:
    """Addresses under names that speak of an endpoint."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from _endpoints(value, named or "endpoint" in str(name))
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _endpoints(value, named)
    elif named and isinstance(settings, str) and "://" in settings:
        yield settings


def _scrub(content: Any, secrets: Iterable[str]) -> Any:
    """Replace tokens and addresses, wherever they stand, by asterisks."""
    if isinstance(content, dict):
        return {_scrub(key, secrets): _scrub(value, secrets) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_scrub(item, secrets) for item in content]
    if isinstance(content, str):
        for secret in sorted(secrets, key=len, reverse=True):
            content = content.replace(secret, "***")
        return TOKEN.sub(lambda match: "***@" if match[0].endswith("@") else "***", content)
    return content
