"""Publish files as one commit, compare what arrived with what was sent, and tag it as complete."""

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HFDistillError
from .digests import hash_file, is_licence, listing
from .errors import hub_errors


if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

# Every Hub writes its own rules for large files into it.
OWN_FILE = ".gitattributes"
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


def push_files(
    api: "HfApi",
    repo_id: str,
    repo_type: str,
    files: dict[str, Path],
    tag: str,
    message: str,
    description: str = "",
    head: str | None = None,
    unchanged: Iterable[str] = (),
) -> str:
    """Make one commit, verify it on the Hub, and tag it; the tag moves if an equal version was published before.

    Args:
        api (`HfApi`): client of the Hub.
        repo_id (`str`): an existing repository.
        repo_type (`str`): its type.
        files (`dict[str, Path]`): what to send, by path in the repository.
        tag (`str`): from [`tag_of`].
        message (`str`), description (`str`, *optional*): of the commit.
        head (`str`, *optional*): commit to build upon; the newest by default.
        unchanged (`Iterable[str]`, *optional*): paths that stay as they are. Other files there, licences apart, go.

    Returns:
        `str`: the commit.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the Hub refuses, or what arrived is not what was sent.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    with hub_errors(repo_type, repo_id, api.endpoint):
        head = head or api.repo_info(repo_id, repo_type=repo_type).sha
        stale = listing(api, repo_id, repo_type, head).keys() - files.keys() - set(unchanged) - {OWN_FILE}
        commit = api.create_commit(
            repo_id,
            [*additions, *(CommitOperationDelete(name) for name in sorted(stale) if not is_licence(name))],
            commit_message=message,
            commit_description=description,
            repo_type=repo_type,
            parent_commit=head,
        ).oid
        verify(api, repo_id, repo_type, commit, additions)
        found = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo_id, repo_type=repo_type).tags}
        if found.get(tag) != commit:
            if tag in found:
                api.delete_tag(repo_id, tag=tag, repo_type=repo_type)
            api.create_tag(repo_id, tag=tag, revision=commit, repo_type=repo_type)
    return commit


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
