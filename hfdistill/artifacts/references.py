"""References to artifacts: names or folders, pinned by a commit for lineage and by a digest for identity."""

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from .digests import MANIFEST, data_files, digest_of, is_data, listing, sha256_of, sha256_of_listed
from .errors import hub_errors


FORMAT = 2
REPO_TYPES = ("model", "dataset", "space")


@dataclass(frozen=True)
class Artifact:
    """A version of an artifact, on this machine's disk.

    Attributes:
        repo_id (`str`): `namespace/name` on the Hub, or the folder's path.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        revision (`str`): commit on the Hub; for a folder the fingerprint of its manifest, or the digest of its data if
            it has none.
        path (`Path`): folder with the files.
        manifest (`dict`): content of `hfdistill.json`; empty for a repository that hfdistill did not make.
        in_part (`bool`): only some of its files were fetched.
        source (`Path`, *optional*): folder with the files as they were published, where others were made of them: an
            adapter's, which is merged into its base.
    """

    repo_id: str
    repo_type: str
    revision: str
    path: Path
    manifest: dict[str, Any]
    in_part: bool = False
    source: Path | None = None

    @property
    def ref(self) -> str:
        """`type:repo@revision`, as pinned in the manifests of what is made from it."""
        return f"{self.repo_type}:{self.repo_id}@{self.revision}"

    @cached_property
    def data(self) -> dict[str, str]:
        """sha256 of every data file by path, as they are: what was not fetched is asked of the Hub.

        Without the Hub (`HF_HUB_OFFLINE`) what was not fetched is taken to be as the manifest says.
        """
        from huggingface_hub import HfApi, constants, hf_hub_download

        where, recorded = {"repo_type": self.repo_type, "revision": self.revision}, self.manifest.get("files", {})
        if self.in_part and not constants.HF_HUB_OFFLINE:
            with hub_errors(self.repo_type, self.repo_id):
                files = listing(HfApi(), self.repo_id, **where)
                fetch = partial(hf_hub_download, self.repo_id, **where)
                return {
                    path: sha256_of_listed(entry, recorded, fetch) for path, entry in files.items() if is_data(path)
                }
        here = {name: sha256_of(path) for name, path in data_files(self.source or self.path).items()}
        if is_commit(self.revision) and constants.HF_HUB_OFFLINE:
            return {name: keys["sha256"] for name, keys in recorded.items()} | here
        return here

    @cached_property
    def digest(self) -> str:
        """Digest of the data as they are, 16 hexadecimal digits: identity of what is made from it."""
        return digest_of(self.data)

    @cached_property
    def edited(self) -> tuple[str, ...]:
        """Data files that are not as hfdistill published them, were added or are missing."""
        if not self.manifest:
            return ()
        return differing({name: keys["sha256"] for name, keys in self.manifest["files"].items()}, self.data)


def differing(before: dict[str, str], after: dict[str, str]) -> tuple[str, ...]:
    """Paths whose content differs between two versions, or that one of them has not."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def named(files: tuple[str, ...], shown: int = 3) -> str:
    """Some files by name, and how many more there are."""
    more = len(files) - shown
    return ", ".join(files[:shown]) + (f" and {more} more" if more > 0 else "")


def parse_ref(ref: str) -> tuple[str, str, str]:
    """Take a pinned parent, `type:repo@revision`, apart into type, repository and revision."""
    repo_type, _, rest = ref.partition(":")
    repo_id, _, revision = rest.rpartition("@")
    return repo_type, repo_id, revision


def is_commit(revision: str) -> bool:
    """Whether a pinned revision is a commit on a Hub rather than the state of a folder."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def open_artifact(ref: str, repo_type: str, patterns: list[str] | None = None) -> Artifact:
    """Fetch an artifact by `namespace/name`, `namespace/name@revision` or folder.

    Args:
        ref (`str`): where it is.
        repo_type (`str`): `"model"` or `"dataset"`.
        patterns (`list[str]`, *optional*): only these files, for example `["questions/*"]`.

    Returns:
        [`Artifact`]

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if it does not exist, is empty, may not be read, was made by another
            version of hfdistill, or the Hub cannot be reached; for an adapter, if it does not fit its base.
    """
    folder = Path(ref)
    if folder.is_dir():
        content = read_manifest(folder / MANIFEST, ref, repo_type)
        # Without a manifest only its content tells which version it is.
        revision = content.get("fingerprint") or Artifact(ref, repo_type, "", folder, {}).digest
        return _whole_model(Artifact(str(folder), repo_type, revision, folder, content))
    from huggingface_hub import snapshot_download

    repo_id, _, revision = ref.removeprefix(f"{repo_type}:").partition("@")
    wanted = None if patterns is None else [*patterns, MANIFEST]
    with hub_errors(repo_type, ref):
        folder = Path(
            snapshot_download(repo_id, repo_type=repo_type, revision=revision or None, allow_patterns=wanted)
        )
    if patterns is None and not any(file.is_file() and file.name != ".gitattributes" for file in folder.rglob("*")):
        raise HFDistillError(
            f"the {repo_type} {ref!r} holds nothing to read yet: let the stage that makes it finish, or name another"
        )
    content = read_manifest(folder / MANIFEST, ref, repo_type)
    artifact = Artifact(repo_id, repo_type, folder.name, folder, content, in_part=patterns is not None)
    if artifact.in_part and is_adapter(artifact):
        return open_artifact(f"{repo_id}@{artifact.revision}", repo_type)
    return _whole_model(artifact)


def is_adapter(artifact: Artifact) -> bool:
    """Whether a model is an adapter of another one, as peft saves it."""
    return artifact.repo_type == "model" and (artifact.path / "adapter_config.json").is_file()


def _whole_model(artifact: Artifact) -> Artifact:
    """A model as every stage loads it: of an adapter, its base with the adapter merged."""
    if not is_adapter(artifact):
        return artifact
    from ..training.adapters import merge_folder

    return replace(artifact, path=merge_folder(artifact.path, artifact.digest), source=artifact.path)


def read_manifest(path: Path, ref: str, repo_type: str) -> dict[str, Any]:
    """Read the `hfdistill.json` of the artifact `ref`: `{}` where there is none, an error if its format is another."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HFDistillError(
            f"{MANIFEST} of {repo_type} {ref!r} is not JSON ({error}): restore it from an earlier version"
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise HFDistillError(
            f"{repo_type} {ref!r} has a {MANIFEST} of format {found!r}, and this version of hfdistill knows format "
            f"{FORMAT} alone: delete it or choose another run.name, and make it anew"
        )
    return content
