"""What of an artifact is data, and its digest: equal data have equal digests, on every Hub and in a folder."""

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

MANIFEST, CARD = "hfdistill.json", "README.md"
REPORT = ("report.md", "report.html")
LICENCE = re.compile(r"(licen[sc]es?|notice|copying)([-_. ].*)?", re.IGNORECASE)
PICTURES = frozenset({".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp"})
SHA256 = re.compile(r"[0-9a-f]{64}")
BLOCK = 1 << 20


def is_licence(path: str) -> bool:
    """Whether a file holds the terms of others rather than data."""
    return LICENCE.fullmatch(PurePosixPath(path).name) is not None


def is_data(path: str) -> bool:
    """Whether a file decides what is made from an artifact.

    Card, manifest, report, licences, pictures and hidden files do not: anybody may edit them, and nothing is made
    anew.

    Args:
        path (`str`): within the repository, with slashes.
    """
    parts = PurePosixPath(path)
    hidden = any(part.startswith(".") for part in parts.parts)
    told = path in (MANIFEST, CARD, *REPORT)
    return not (hidden or told or is_licence(path) or parts.suffix.lower() in PICTURES)


def digest_of(data: dict[str, str]) -> str:
    """Digest of data files, sha256 by path: 16 hexadecimal digits."""
    lines = "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(data.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def data_files(folder: Path) -> dict[str, Path]:
    """Every data file of a folder by its path in the repository."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if is_data(name)}


def sha256_of(path: Path) -> str:
    """sha256 of a file. The Hub client's cache has large files under that name, which spares reading them."""
    blob = path.resolve()
    if path.is_symlink() and blob.parent.name == "blobs" and SHA256.fullmatch(blob.name):
        return blob.name
    return hash_file(path)["sha256"]


def listing(api: "HfApi", repo_id: str, repo_type: str, revision: str) -> dict[str, "RepoFile"]:
    """What a Hub knows of every file of a version, by path."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo_id, repo_type=repo_type, revision=revision, recursive=True)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def sha256_of_listed(entry: "RepoFile", recorded: dict[str, dict[str, str]], fetch: Callable[[str], str]) -> str:
    """sha256 of a file that a Hub lists; of a small one it knows git's hash alone, so what is new is fetched."""
    if entry.lfs is not None:
        return entry.lfs.sha256
    known = recorded.get(entry.path)
    return known["sha256"] if known and known["git"] == entry.blob_id else hash_file(Path(fetch(entry.path)))["sha256"]


def hash_file(path: Path) -> dict[str, str]:
    """The two keys under which a Hub knows a file: `{"sha256": …, "git": …}`, the latter git's sha1 of its content."""
    info = path.stat()
    if info.st_size < BLOCK:
        return _hash(path, info.st_size)
    return dict(_hash_once(path.resolve(), info.st_size, info.st_mtime_ns))


@cache
def _hash_once(path: Path, size: int, _changed: int) -> dict[str, str]:
    return _hash(path, size)


def _hash(path: Path, size: int) -> dict[str, str]:
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha256.update(block)
            git.update(block)
    return {"sha256": sha256.hexdigest(), "git": git.hexdigest()}
