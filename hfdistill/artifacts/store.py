"""Artifacts: what a stage reads and writes. One commit a version, a manifest in it, a tag that marks it complete."""

import datetime
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..config import Config, RunConfig
from ..errors import HFDistillError
from ..kinds import Kind
from .errors import hub_errors
from .push import describe_changes, files_of, push_folder, tag_of


MANIFEST = "hfdistill.json"
PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "huggingface_hub")
# What of the shared sections describes the models; addresses and names of secrets stay on the machine.
TEACHER_KEYS = ("model", "kind", "chat", "license")
STUDENT_KEYS = ("model", "revision", "dtype", "license")
# A made-up token such as "none" is no secret, and hiding it would blot out words.
SHORTEST_TOKEN = 12
# Flags that speak of tokens and hold none.
NO_SECRETS = ("_env", "_tokens", "token_budget", "token_id")
TOKEN = re.compile(r"hf_[A-Za-z0-9]{16,}|(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Artifact:
    """A version of an artifact, on this machine's disk.

    Attributes:
        repo_id (`str`): `namespace/name` on the Hub, or the folder's path.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        revision (`str`): commit on the Hub; for a folder the fingerprint of its manifest, or `"local"`.
        path (`Path`): folder with the files.
        manifest (`dict`): content of `hfdistill.json`; empty for a repository that hfdistill did not make.
    """

    repo_id: str
    repo_type: str
    revision: str
    path: Path
    manifest: dict[str, Any]

    @property
    def ref(self) -> str:
        """`type:repo@revision`, as pinned in the manifests of what is made from it."""
        return f"{self.repo_type}:{self.repo_id}@{self.revision}"


def fingerprint(kind: Kind, config: Config, parents: dict[str, Artifact]) -> str:
    """Identity of an artifact: its kind, every setting with an effect, and its pinned parents.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    return fingerprint_of(kind.name, config.identity(), _refs(parents))


def fingerprint_of(kind: str, identity: dict[str, Any], refs: dict[str, str]) -> str:
    """The same from what a manifest holds: its `kind`, `config` and `parents`."""
    text = json.dumps({"kind": kind, "config": identity, "parents": refs}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def manifest(
    kind: Kind,
    config: Config,
    parents: dict[str, Artifact],
    metrics: dict[str, Any] | None = None,
    cost: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the content of `hfdistill.json`.

    Args:
        kind ([`~hfdistill.kinds.Kind`]): of the artifact.
        config ([`~hfdistill.config.Config`]): the configuration it ran with.
        parents (`dict[str, Artifact]`): what it was made from, by role (`"labels"`, `"warmup"`, …).
        metrics (`dict`, *optional*): figures measured.
        cost (`dict`, *optional*): what it took, for example `{"seconds": 12.3, "requests": 51000}`.
    """
    content = {
        "format": 1,
        "kind": kind.name,
        "stage": kind.stage,
        "run": config.run.name,
        "fingerprint": fingerprint(kind, config, parents),
        "config": config.identity(),
        "teacher": {key: vars(config.teacher)[key] for key in TEACHER_KEYS} if config.teacher else None,
        "student": {key: vars(config.student)[key] for key in STUDENT_KEYS} if config.student else None,
        "parents": _refs(parents),
        "versions": {
            "hfdistill": __version__,
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in PACKAGES},
        },
        "command": _command(sys.argv),
        "metrics": metrics or {},
        "cost": cost or {},
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    return _scrub(content, _secrets(config))


def parse_ref(ref: str) -> tuple[str, str, str]:
    """Take a pinned parent, `type:repo@revision`, apart into type, repository and revision."""
    repo_type, _, rest = ref.partition(":")
    repo_id, _, revision = rest.rpartition("@")
    return repo_type, repo_id, revision


def open_artifact(ref: str, repo_type: str, patterns: list[str] | None = None) -> Artifact:
    """Fetch an artifact by `namespace/name`, `namespace/name@revision` or folder.

    Args:
        ref (`str`): where it is.
        repo_type (`str`): `"model"` or `"dataset"`.
        patterns (`list[str]`, *optional*): only these files, for example `["questions/*"]`.

    Returns:
        [`Artifact`]

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if it does not exist, is empty, may not be read, or the Hub cannot be
            reached.
    """
    folder = Path(ref)
    if folder.is_dir():
        content = _read_manifest(folder)
        return Artifact(str(folder), repo_type, content.get("fingerprint", "local"), folder, content)
    from huggingface_hub import snapshot_download

    repo_id, _, revision = ref.removeprefix(f"{repo_type}:").partition("@")
    with hub_errors(repo_type, ref):
        snapshot = snapshot_download(
            repo_id, repo_type=repo_type, revision=revision or None, allow_patterns=_with_manifest(patterns)
        )
    folder = Path(snapshot)
    if patterns is None and not any(file.is_file() and file.name != ".gitattributes" for file in folder.rglob("*")):
        raise HFDistillError(
            f"the {repo_type} {ref!r} holds nothing to read yet: let the stage that makes it finish, or name another"
        )
    return Artifact(repo_id, repo_type, folder.name, folder, _read_manifest(folder))


class Store:
    """Where a run's artifacts are published: the Hub, or a folder when `push` is off.

    Args:
        run ([`~hfdistill.config.RunConfig`]): names the artifacts.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the Hub cannot be reached or the token is missing or refused.
    """

    def __init__(self, run: RunConfig):
        self.run = run
        self.namespace = run.namespace
        self._told: set[str] = set()
        if run.push and self.namespace is None:
            from huggingface_hub import HfApi, constants, get_token

            # Without a token the client would not even ask, but a Hub that is open to this machine answers.
            with hub_errors("account", constants.ENDPOINT):
                self.namespace = HfApi().whoami(token=get_token() or "none")["name"]

    def name(self, kind: Kind) -> str:
        """Where the artifact of this kind is written: `namespace/{run}-{kind}{suffix}` or a folder."""
        return self._place(f"{self.run.name}-{kind.name}{self.run.suffix}")

    def parent(self, kind: Kind) -> str:
        """Where the run's main artifact of this kind is read by default: the same, without the run's suffix."""
        return self._place(f"{self.run.name}-{kind.name}")

    def _place(self, name: str) -> str:
        if self.run.push:
            return f"{self.namespace}/{name}"
        return str(Path(self.run.output_dir) / "artifacts" / name)

    def find(self, kind: Kind, fingerprint: str) -> Artifact | None:
        """The complete artifact with this fingerprint, or `None` if it was not made yet.

        If it was made by an earlier version of the configuration, and another was published since, it is put in front
        again: later stages read the newest.
        """
        name, repo_type = self.name(kind), kind.repo_type
        if not self.run.push:
            folder = _settled(Path(name))
            found = folder.is_dir() and _read_manifest(folder).get("fingerprint") == fingerprint
            return open_artifact(name, repo_type) if found else None
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError

        with hub_errors(repo_type, name):
            try:
                tags = HfApi().list_repo_refs(name, repo_type=repo_type).tags
            except RepositoryNotFoundError:
                return None
        tag = tag_of(fingerprint)
        if not any(found.name == tag for found in tags):
            return None
        found = open_artifact(f"{name}@{tag}", repo_type)
        with hub_errors(repo_type, name):
            newest = HfApi().repo_info(name, repo_type=repo_type).sha
        first_process = os.environ.get("RANK", "0") == "0"
        return self._put_in_front(found, kind) if newest != found.revision and first_process else found

    def _put_in_front(self, found: Artifact, kind: Kind) -> Artifact:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "artifact"
            shutil.copytree(found.path, copy, ignore=shutil.ignore_patterns(".gitattributes"))
            card = (copy / "README.md").read_text(encoding="utf-8")
            return self.publish(copy, kind, found.manifest, card)

    def prepare(self, kind: Kind, coming: dict[str, Any] | None = None) -> None:
        """Create the repository before anything expensive, so that a missing right is known before and not after.

        Args:
            kind ([`~hfdistill.kinds.Kind`]): what will be published.
            coming (`dict`, *optional*): [`manifest`] of what will be published. If there is an earlier version, what
                changed since is printed: the time to notice a slip in the configuration is now.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the token may not write there, or the run is private and the
                repository exists as a public one.
        """
        name, repo_type = self.name(kind), kind.repo_type
        if not self.run.push:
            place = Path(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(place.parent, os.W_OK):
                raise HFDistillError(
                    f"folder {str(place.parent)!r} is not writable: set run.output_dir to another one"
                )
            if coming:
                self._tell_changes(name, repo_type, coming)
            return
        from huggingface_hub import HfApi

        api = HfApi()
        sdk = "gradio" if repo_type == "space" else None
        with hub_errors(repo_type, name):
            api.create_repo(name, repo_type=repo_type, private=self.run.private or None, exist_ok=True, space_sdk=sdk)
            # A token that may only read passes the call above where the repository exists already.
            api.auth_check(name, repo_type=repo_type, write=True)
            if self.run.private and not api.repo_info(name, repo_type=repo_type).private:
                raise HFDistillError(
                    f"{repo_type} {name!r} is public, but run.private is true: make it private in its settings, or "
                    "choose another run.name"
                )
        if coming:
            self._tell_changes(name, repo_type, coming)

    def _tell_changes(self, name: str, repo_type: str, coming: dict[str, Any]) -> list[str]:
        """What is different from the version published last, printed once."""
        changes = describe_changes(self._latest(name, repo_type), coming)
        if changes and coming["fingerprint"] not in self._told:
            print(f"{name}: a new version, because of\n" + "\n".join(f"  {line}" for line in changes))
        self._told.add(coming["fingerprint"])
        return changes

    def publish(self, folder: str | Path, kind: Kind, manifest: dict[str, Any], card: str) -> Artifact:
        """Publish a folder with its card and manifest as one commit, check what arrived, and tag it as complete.

        Files that an earlier version had and this one has not are deleted in the same commit, and what changed since
        that version stands in its message, and is printed unless [`prepare`] did. The artifact is added to the run's
        Collection.

        Args:
            folder (`str` or `Path`): files of the artifact.
            kind ([`~hfdistill.kinds.Kind`]): of the artifact.
            manifest (`dict`): from [`manifest`].
            card (`str`): text of README.md.

        Returns:
            [`Artifact`]: as read back.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if a file is a pickle, the Hub refuses, or what arrived is not what
                was sent.
        """
        folder, name, repo_type = Path(folder), self.name(kind), kind.repo_type
        files_of(folder)
        if repo_type == "dataset":
            from .cards import fit_to_folder

            card = fit_to_folder(card, folder)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(card, encoding="utf-8")
        changes = self._tell_changes(name, repo_type, manifest)
        if not self.run.push:
            return _replace_folder(folder, Path(name), repo_type)
        self.prepare(kind)
        key = manifest["fingerprint"]
        revision = push_folder(folder, name, repo_type, key, f"{manifest['stage']} {key}", "\n".join(changes))
        from .collection import add_to_collection

        add_to_collection(self.run, self.namespace, kind, name)
        return open_artifact(f"{name}@{revision}", repo_type)

    def _latest(self, name: str, repo_type: str) -> dict[str, Any]:
        """Manifest of the version published last, `{}` if there is none."""
        if not self.run.push:
            return _read_manifest(_settled(Path(name)))
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

        with hub_errors(repo_type, name):
            try:
                path = hf_hub_download(name, MANIFEST, repo_type=repo_type)
            except (EntryNotFoundError, RepositoryNotFoundError):
                return {}
        return json.loads(Path(path).read_text(encoding="utf-8"))


def _settled(place: Path) -> Path:
    """Finish a replacement that was cut off between its two renames."""
    previous = place.with_name(place.name + ".previous")
    if previous.is_dir() and not place.exists():
        previous.rename(place)
    return place


def _replace_folder(folder: Path, place: Path, repo_type: str) -> Artifact:
    """Put a folder in place by rename, so that neither a half-copied artifact nor none is ever seen."""
    place.parent.mkdir(parents=True, exist_ok=True)
    incoming, previous = (place.with_name(place.name + end) for end in (".incoming", ".previous"))
    shutil.rmtree(incoming, ignore_errors=True)
    shutil.copytree(folder, incoming)
    if _settled(place).exists():
        shutil.rmtree(previous, ignore_errors=True)
        place.rename(previous)
    incoming.rename(place)
    shutil.rmtree(previous, ignore_errors=True)
    return open_artifact(str(place), repo_type)


def _with_manifest(patterns: list[str] | None) -> list[str] | None:
    return None if patterns is None else [*patterns, MANIFEST]


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _refs(parents: dict[str, Artifact]) -> dict[str, str]:
    return {role: parent.ref for role, parent in sorted(parents.items())}


def _command(argv: list[str]) -> str:
    """The command as a reader would type it in the project's folder, without secrets."""
    words = [_relative(word) for word in _without_secrets(argv)]
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


def _scrub(content: Any, secrets: Iterable[str]) -> Any:
    """Replace tokens, wherever they stand, by asterisks."""
    if isinstance(content, dict):
        return {_scrub(key, secrets): _scrub(value, secrets) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_scrub(item, secrets) for item in content]
    if isinstance(content, str):
        for secret in secrets:
            content = content.replace(secret, "***")
        return TOKEN.sub(lambda match: "***@" if match[0].endswith("@") else "***", content)
    return content
