"""Artifacts: what a stage reads and writes. One commit a version, a manifest in it, a tag that marks it complete."""

import dataclasses
import datetime
import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..config import Config, RunConfig
from ..errors import HFDistillError


MANIFEST = "hfdistill.json"
PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "huggingface_hub")


@dataclass(frozen=True)
class Artifact:
    """A version of an artifact, on this machine's disk.

    Attributes:
        repo_id (`str`): `namespace/name` on the Hub, or the folder's path.
        repo_type (`str`): `"model"` or `"dataset"`.
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


def fingerprint(stage: str, config: Config, parents: dict[str, Artifact]) -> str:
    """Identity of what a stage makes: its name, every setting with an effect, and its pinned parents.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    return _digest({"stage": stage, "config": config.identity(), "parents": _refs(parents)})


def manifest(
    stage: str, config: Config, parents: dict[str, Artifact], metrics: dict[str, Any], cost: dict[str, Any]
) -> dict[str, Any]:
    """Build the content of `hfdistill.json`.

    Args:
        stage (`str`): name of the stage.
        config ([`~hfdistill.config.Config`]): the configuration it ran with.
        parents (`dict[str, Artifact]`): what it was made from, by role (`"teacher"`, `"warmup"`, …).
        metrics (`dict`): figures measured.
        cost (`dict`): what it took, for example `{"seconds": 12.3, "requests": 51000}`.
    """
    return {
        "format": 1,
        "stage": stage,
        "run": config.run.name,
        "fingerprint": fingerprint(stage, config, parents),
        "config": config.identity(),
        "teacher": dataclasses.asdict(config.teacher) if config.teacher else None,
        "student": dataclasses.asdict(config.student) if config.student else None,
        "parents": _refs(parents),
        "versions": {
            "hfdistill": __version__,
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in PACKAGES},
        },
        "command": " ".join(_without_secrets(sys.argv)),
        "metrics": metrics,
        "cost": cost,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


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
        [`~hfdistill.errors.HFDistillError`]: if it does not exist, may not be read, or the Hub cannot be reached.
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
        if run.push and self.namespace is None:
            from huggingface_hub import HfApi, constants

            with hub_errors("account", constants.ENDPOINT):
                self.namespace = HfApi().whoami()["name"]

    def name(self, kind: str) -> str:
        """Where the artifact of this kind is written: `namespace/{run}-{kind}{suffix}` or a folder."""
        return self._place(f"{self.run.name}-{kind}{self.run.suffix}")

    def parent(self, kind: str) -> str:
        """Where the run's main artifact of this kind is read by default: the same, without the run's suffix."""
        return self._place(f"{self.run.name}-{kind}")

    def _place(self, name: str) -> str:
        if self.run.push:
            return f"{self.namespace}/{name}"
        return str(Path(self.run.output_dir) / "artifacts" / name)

    def find(self, kind: str, repo_type: str, fingerprint: str) -> Artifact | None:
        """The complete artifact with this fingerprint, or `None` if it was not made yet."""
        name = self.name(kind)
        if not self.run.push:
            folder = Path(name)
            found = folder.is_dir() and _read_manifest(folder).get("fingerprint") == fingerprint
            return open_artifact(name, repo_type) if found else None
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError

        with hub_errors(repo_type, name):
            try:
                tags = HfApi().list_repo_refs(name, repo_type=repo_type).tags
            except RepositoryNotFoundError:
                return None
        if any(tag.name == _tag(fingerprint) for tag in tags):
            return open_artifact(f"{name}@{_tag(fingerprint)}", repo_type)
        return None

    def prepare(self, kind: str, repo_type: str) -> None:
        """Create the repository before anything expensive, so that a missing right is known before and not after."""
        name = self.name(kind)
        if not self.run.push:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            return
        from huggingface_hub import HfApi

        with hub_errors(repo_type, name):
            HfApi().create_repo(name, repo_type=repo_type, private=self.run.private, exist_ok=True)

    def publish(self, folder: str | Path, kind: str, repo_type: str, manifest: dict[str, Any], card: str) -> Artifact:
        """Publish a folder with its card and manifest as one commit, check what arrived, and tag it as complete.

        Files that an earlier version had and this one has not are deleted in the same commit.

        Args:
            folder (`str` or `Path`): files of the artifact.
            kind (`str`): `"teacher"`, `"warmup"`, `"rewards"`, `"reward"`, `"policy"` or `"results"`.
            repo_type (`str`): `"model"` or `"dataset"`.
            manifest (`dict`): from [`manifest`].
            card (`str`): text of README.md.

        Returns:
            [`Artifact`]: as read back.
        """
        folder, name = Path(folder), self.name(kind)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(card, encoding="utf-8")
        if not self.run.push:
            return _replace_folder(folder, Path(name), repo_type)
        self.prepare(kind, repo_type)
        revision = _commit(folder, name, repo_type, manifest)
        return open_artifact(f"{name}@{revision}", repo_type)


def _commit(folder: Path, name: str, repo_type: str, manifest: dict[str, Any]) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi()
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    with hub_errors(repo_type, name):
        info = api.repo_info(name, repo_type=repo_type)
        stale = {sibling.rfilename for sibling in info.siblings or []} - set(files) - {".gitattributes"}
        operations = [CommitOperationAdd(path, str(local)) for path, local in files.items()]
        operations += [CommitOperationDelete(path) for path in sorted(stale)]
        commit = api.create_commit(
            name,
            operations,
            commit_message=f"{manifest['stage']} {manifest['fingerprint']}",
            repo_type=repo_type,
            parent_commit=info.sha,
        )
        sizes = {
            entry.path: entry.size
            for entry in api.list_repo_tree(name, repo_type=repo_type, revision=commit.oid, recursive=True)
            if isinstance(entry, RepoFile)
        }
        for path, local in files.items():
            if sizes.get(path) != local.stat().st_size:
                raise HFDistillError(
                    f"{name}@{commit.oid}: {path} arrived with {sizes.get(path)} bytes instead of "
                    f"{local.stat().st_size}; run the same command again to push anew"
                )
        tag = _tag(manifest["fingerprint"])
        if any(existing.name == tag for existing in api.list_repo_refs(name, repo_type=repo_type).tags):
            api.delete_tag(name, tag=tag, repo_type=repo_type)
        api.create_tag(name, tag=tag, revision=commit.oid, repo_type=repo_type)
    return commit.oid


def _replace_folder(folder: Path, place: Path, repo_type: str) -> Artifact:
    """Put a folder in place by rename, so that a half-copied artifact is never seen."""
    place.parent.mkdir(parents=True, exist_ok=True)
    incoming = place.with_name(place.name + ".incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    shutil.copytree(folder, incoming)
    if place.exists():
        shutil.rmtree(place)
    incoming.rename(place)
    return open_artifact(str(place), repo_type)


@contextmanager
def hub_errors(kind: str, name: str) -> Iterator[None]:
    """Turn the Hub client's exceptions into one sentence that names what was asked for and the way out."""
    try:
        yield
    except Exception as error:
        message = _explain(error)
        if message is None:
            raise
        raise HFDistillError(f"{kind} {name!r} {message}") from error


def _explain(error: Exception) -> str | None:
    import httpx
    import httpx2
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    if isinstance(error, errors.GatedRepoError):
        return f"is gated: ask for access on {hub}, then log in with `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no such revision on {hub}: check what follows the @"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"does not exist on {hub}, or the token may not see it: run the stage that makes it, or log in"
    if isinstance(error, errors.HFValidationError):
        return f"is neither a folder nor a repository (namespace/name): {error}"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return f"is not on this machine, and {hub} cannot be reached: check HF_ENDPOINT and the network"
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"needs a token for {hub}: `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.HfHubHTTPError):
        reason = {
            401: "the token is missing or not valid: `hf auth login`, or set HF_TOKEN",
            403: "the token may not do this: it needs write access to this namespace",
        }
        status = error.response.status_code
        return f"was refused by {hub} with {status}: {reason.get(status, error.server_message or error)}"
    if isinstance(error, httpx.TransportError | httpx2.TransportError | ConnectionError):
        return f"cannot be reached at {hub} ({type(error).__name__}): check HF_ENDPOINT and the network"
    return None


def _with_manifest(patterns: list[str] | None) -> list[str] | None:
    return None if patterns is None else [*patterns, MANIFEST]


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _tag(fingerprint: str) -> str:
    return f"complete-{fingerprint}"


def _refs(parents: dict[str, Artifact]) -> dict[str, str]:
    return {role: parent.ref for role, parent in sorted(parents.items())}


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_secrets(argv: list[str]) -> list[str]:
    """Drop values of flags that hold tokens: the command stands in a public manifest."""
    words, hide = [], False
    for word in argv:
        name, equals, _ = word.partition("=")
        secret = name.startswith("--") and ("token" in name or "api_key" in name) and not name.endswith("_env")
        words.append("***" if hide else f"{name}=***" if secret and equals else word)
        hide = secret and not equals
    return words
