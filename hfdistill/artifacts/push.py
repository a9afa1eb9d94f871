"""Publish a folder as one commit, compare what arrived with what was sent, and tag it as complete."""

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HFDistillError
from .digests import hash_file, is_licence
from .errors import hub_errors


if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import RepoFile

# Formats that run code when loaded; the Trainer writes several of them beside the weights.
PICKLES = ("*.bin", "*.pkl", "*.pickle", "*.pt", "*.pth", "*.ckpt", "*.joblib")


def tag_of(fingerprint: str) -> str:
    """Name of the tag that marks the version with this fingerprint as complete."""
    return f"complete-{fingerprint}"


def files_of(folder: Path) -> dict[str, Path]:
    """Every file of a folder by its path in the repository.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if one of them is a pickle.
    """
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    for name in files:
        if any(fnmatch.fnmatch(name.lower(), pattern) for pattern in PICKLES):
            raise HFDistillError(
                f"{folder / name} is a pickle, which can run code when it is loaded, and is not published: remove it "
                "(weights go as safetensors, the configuration is in hfdistill.json)"
            )
    return files


def push_folder(
    folder: Path, repo_id: str, repo_type: str, fingerprint: str, message: str, description: str = ""
) -> str:
    """Commit a folder, verify it on the Hub, and tag it.

    Files that an earlier version had and this one has not are deleted in the same commit; licences stay.

    Args:
        folder (`Path`): all files of the version.
        repo_id (`str`): an existing repository.
        repo_type (`str`): its type.
        fingerprint (`str`): of the version; names the tag.
        message (`str`), description (`str`, *optional*): of the commit.

    Returns:
        `str`: the commit.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the Hub refuses, or what arrived is not what was sent.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    additions = [CommitOperationAdd(name, str(path)) for name, path in files_of(folder).items()]
    sent = {addition.path_in_repo for addition in additions}
    with hub_errors(repo_type, repo_id):
        info = api.repo_info(repo_id, repo_type=repo_type)
        stale = {sibling.rfilename for sibling in info.siblings or []} - sent - {".gitattributes"}
        stale = {name for name in stale if not is_licence(name)}
        commit = api.create_commit(
            repo_id,
            [*additions, *(CommitOperationDelete(name) for name in sorted(stale))],
            commit_message=message,
            commit_description=description,
            repo_type=repo_type,
            parent_commit=info.sha,
        )
        verify(api, repo_id, repo_type, commit.oid, additions)
        _tag(repo_id, repo_type, tag_of(fingerprint), commit.oid)
    return commit.oid


def listing(api: "HfApi", repo_id: str, repo_type: str, revision: str) -> dict[str, "RepoFile"]:
    """What a Hub knows of every file of a version, by path."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo_id, repo_type=repo_type, revision=revision, recursive=True)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def verify(
    api: "HfApi", repo_id: str, repo_type: str, revision: str, additions: Sequence["CommitOperationAdd"]
) -> None:
    """Compare sizes and hashes on the Hub with the files here: sha256 for large files, git's sha1 for the rest."""
    there = listing(api, repo_id, repo_type, revision)
    for addition in additions:
        name, size = addition.path_in_repo, addition.upload_info.size
        entry = there.get(name)
        if entry is None:
            trouble = "did not arrive"
        elif entry.size != size:
            trouble = f"arrived with {entry.size} bytes instead of {size}"
        elif entry.lfs is not None and entry.lfs.sha256 != addition.upload_info.sha256.hex():
            trouble = f"arrived with sha256 {entry.lfs.sha256} instead of {addition.upload_info.sha256.hex()}"
        elif entry.lfs is None and entry.blob_id != hash_file(Path(str(addition.path_or_fileobj)))["git"]:
            trouble = f"arrived as blob {entry.blob_id}, which is another content"
        else:
            continue
        raise HFDistillError(
            f"{repo_type} {repo_id!r}: {name} {trouble} in commit {revision}, which therefore is not marked complete; "
            "run the same command again to push anew"
        )


def _tag(repo_id: str, repo_type: str, tag: str, revision: str) -> None:
    """Set the completion tag, moving it if an equal version was published before."""
    from huggingface_hub import HfApi

    api = HfApi()
    found = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo_id, repo_type=repo_type).tags}
    if found.get(tag) == revision:
        return
    if tag in found:
        api.delete_tag(repo_id, tag=tag, repo_type=repo_type)
    api.create_tag(repo_id, tag=tag, revision=revision, repo_type=repo_type)
