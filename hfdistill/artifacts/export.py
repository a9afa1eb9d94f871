"""A run in one file, for sites without a network: a tar of its history, every content under its sha256."""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..progress import Progress
from .history import Commit, Contents, Repository, Run


FORMAT = 1
INDEX, CHECKSUM, CONTENT = "export.json", "export.sha256", "contents/"
BLOCK = 1 << 20


def export_run(run: Run, contents: Contents, path: str | Path) -> Path:
    """Write a run into one file. Equal runs give equal files.

    The file holds `export.json` (repositories, commits, tags, Collection; each file by its sha256), every content once
    as `contents/<sha256>`, and last the sha256 of `export.json`, which vouches for all the others.

    Args:
        run ([`~hfdistill.artifacts.history.Run`]): what to export.
        contents ([`~hfdistill.artifacts.history.Contents`]): gives the files' contents.
        path (`str` or `Path`): where to write; the file appears when it is complete.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise HFDistillError(f"there is no folder '{path.parent}' to export into: make it first")
    index = asdict(run) | {"format": FORMAT}
    local: dict[str, Path] = {}
    known: dict[tuple[str, str], str] = {}
    total = sum(len(commit.files) for repository in run.repositories for commit in repository.commits)
    with Progress("export", total, "files") as progress:
        for repository, written in zip(run.repositories, index["repositories"], strict=True):
            for commit, entry in zip(repository.commits, written["commits"], strict=True):
                for name, key in commit.files.items():
                    if (repository.repo_id, key) not in known:
                        fetched = contents.fetch(repository, commit, name)
                        known[repository.repo_id, key] = _sha256(fetched)
                        local[known[repository.repo_id, key]] = fetched
                    entry["files"][name] = known[repository.repo_id, key]
                    progress.advance()
    text = json.dumps(index, indent=1, sort_keys=True).encode()
    incoming = path.with_name(path.name + ".incoming")
    with tarfile.open(incoming, "w") as archive:
        _add(archive, INDEX, io.BytesIO(text), len(text))
        for sha256, fetched in sorted(local.items()):
            with fetched.open("rb") as file:
                _add(archive, CONTENT + sha256, file, fetched.stat().st_size)
        checksum = hashlib.sha256(text).hexdigest().encode()
        _add(archive, CHECKSUM, io.BytesIO(checksum), len(checksum))
    incoming.replace(path)
    return path


class Archive:
    """A run as read from such a file. Everything is verified before anything is used.

    Args:
        path (`str` or `Path`): the file.
        folder (`Path`): an empty folder for the contents.

    Attributes:
        run ([`~hfdistill.artifacts.history.Run`]): what is in it.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the file is not an export, is cut off or was changed.
    """

    def __init__(self, path: str | Path, folder: Path):
        self.path, self.folder = Path(path), folder
        if not self.path.is_file():
            raise HFDistillError(f"there is no file '{self.path}' to import")
        try:
            text, checksum, found = self._unpack()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise self._broken(f"it cannot be read as tar ({error})") from error
        if not text:
            raise self._broken(f"it holds no {INDEX}")
        if not checksum:
            raise self._broken("its end is missing")
        if hashlib.sha256(text).hexdigest() != checksum.decode("ascii", "replace"):
            raise self._broken(f"{INDEX} has another checksum")
        try:
            index = json.loads(text)
            if index.pop("format") != FORMAT:
                raise HFDistillError(f"'{self.path}' has another format than {FORMAT}: import it by what wrote it")
            self.run = _run(index)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._broken(f"{INDEX} is not what an export holds ({error})") from error
        for repository in self.run.repositories:
            for commit in repository.commits:
                for name, sha256 in commit.files.items():
                    if name.startswith("/") or ".." in name.split("/"):
                        raise self._broken(f"{name!r} is no path of a file in a repository")
                    if sha256 not in found:
                        raise self._broken(f"the content of {repository.repo_id}/{name} is missing")

    def fetch(self, repository: Repository, commit: Commit, path: str) -> Path:
        """The content of one file."""
        return self.folder / commit.files[path]

    def _broken(self, why: str) -> HFDistillError:
        return HFDistillError(f"'{self.path}' is not a complete export: {why}; copy it again, or export it anew")

    def _unpack(self) -> tuple[bytes, bytes, set[str]]:
        text, checksum, found = b"", b"", set()
        with tarfile.open(self.path, "r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is None:
                    raise self._broken(f"{member.name!r} is no plain file")
                if member.name == INDEX:
                    text = file.read()
                elif member.name == CHECKSUM:
                    checksum = file.read(64)
                elif re.fullmatch(CONTENT + "[0-9a-f]{64}", member.name):
                    sha256 = member.name.removeprefix(CONTENT)
                    if _copy(file, self.folder / sha256) != sha256:
                        raise self._broken(f"{member.name} has another checksum")
                    found.add(sha256)
                else:
                    raise self._broken(f"{member.name!r} does not belong there")
        return text, checksum, found


def _run(index: dict[str, Any]) -> Run:
    repositories = [
        Repository(**{**entry, "commits": [Commit(**commit) for commit in entry["commits"]]})
        for entry in index.pop("repositories")
    ]
    items = [tuple(item) for item in index.pop("items")]
    return Run(**index, repositories=repositories, items=items)


def _add(archive: tarfile.TarFile, name: str, file: Any, size: int) -> None:
    """Add a member whose header depends on its name and content alone."""
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, file)


def _copy(file: Any, target: Path) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        while block := file.read(BLOCK):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
