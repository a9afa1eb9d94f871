"""A run in one file, for sites without a network: a tar of its versions, every content under its sha256."""

import hashlib
import io
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..progress import Progress
from .digests import BLOCK, MANIFEST, hash_file
from .references import REPO_TYPES, is_commit, read_manifest
from .versions import Version, VersionSet


FORMAT = 2
INDEX, CHECKSUM, CONTENT = "export.json", "export.sha256", "contents/"
READ = {"kind", "stage", "run", "fingerprint", "config", "metrics", "parents", "digests", "files", "digest"}
LARGEST_INDEX = 64 << 20


def export_run(run: VersionSet, path: Path) -> None:
    """Write a run into one file. Equal runs give equal files.

    The file holds `export.json` (versions and Collection; each file by its sha256), every content once as
    `contents/<sha256>`, and last the sha256 of `export.json`, which vouches for all the others. It appears when it is
    complete.
    """
    if not path.parent.is_dir():
        raise HFDistillError(f"there is no folder '{path.parent}' to export into: make it first")
    versions = [{**vars(version), "manifest": None} for version in run.versions]  # manifests are among the contents
    about = {"name": run.name, "namespace": run.namespace, "endpoint": run.endpoint, "format": FORMAT}
    text = json.dumps({**about, "versions": versions}, indent=1, sort_keys=True).encode()
    where = {sha256: (version, name) for version in run.versions for name, sha256 in version.files.items()}
    incoming = path.with_name(path.name + ".incoming")
    with tarfile.open(incoming, "w") as archive, Progress("export", len(where), "files") as progress:
        _add(archive, INDEX, io.BytesIO(text), len(text))
        for sha256, (version, name) in sorted(where.items()):
            content = run.fetch(version, name)
            with content.open("rb") as file:
                _add(archive, CONTENT + sha256, file, content.stat().st_size)
            progress.advance()
        checksum = hashlib.sha256(text).hexdigest().encode()
        _add(archive, CHECKSUM, io.BytesIO(checksum), len(checksum))
    incoming.replace(path)


class Archive(VersionSet):
    """A run as read from such a file. Everything is verified before anything is used.

    Args:
        path (`Path`): the file.
        folder (`Path`): an empty folder for the contents.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the file is not an export, is cut off or was changed.
    """

    def __init__(self, path: Path, folder: Path):
        self.path, self.folder = path, folder
        if not self.path.is_file():
            raise HFDistillError(f"there is no file '{self.path}' to import")
        try:
            text, checksum, found = self._unpack()
            if hashlib.sha256(text).hexdigest() != checksum.decode("ascii", "replace"):
                raise self._broken(f"{INDEX} has another checksum" if text and checksum else "a part of it is missing")
            index = json.loads(text)
            if index["format"] != FORMAT:
                raise HFDistillError(f"'{self.path}' has another format than {FORMAT}: import it by what wrote it")
            self.name, self.namespace, self.endpoint = index["name"], index["namespace"], index["endpoint"]
            self.versions = [self._version(each, found) for each in index["versions"]]
        except (tarfile.TarError, EOFError, OSError) as error:
            raise self._broken(f"it cannot be read as tar ({error})") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._broken(f"{INDEX} is not what an export holds ({error})") from error

    def fetch(self, version: Version, path: str) -> Path:
        """The content of one file of a version, as a file on this machine."""
        return self.folder / version.files[path]

    def _broken(self, why: str) -> HFDistillError:
        return HFDistillError(f"'{self.path}' is not a complete export: {why}; copy it again, or export it anew")

    def _unpack(self) -> tuple[bytes, bytes, set[str]]:
        text, checksum, found = b"", b"", set()
        with tarfile.open(self.path, "r:") as archive:
            for member in archive:
                # A sparse file of a few bytes could fill the disk.
                file = archive.extractfile(member) if member.isreg() and not member.issparse() else None
                if file is None:
                    raise self._broken(f"{member.name!r} is no plain file")
                if member.name == INDEX and member.size <= LARGEST_INDEX:
                    text = file.read()
                elif member.name == CHECKSUM:
                    checksum = file.read(64)
                elif re.fullmatch(CONTENT + "[0-9a-f]{64}", member.name):
                    sha256 = member.name.removeprefix(CONTENT)
                    with (self.folder / sha256).open("wb") as out:
                        shutil.copyfileobj(file, out, BLOCK)
                    if hash_file(self.folder / sha256)["sha256"] != sha256:
                        raise self._broken(f"{member.name} has another checksum")
                    found.add(sha256)
                else:
                    raise self._broken(f"{member.name!r} does not belong there")
        return text, checksum, found

    def _version(self, entry: dict[str, Any], found: set[str]) -> Version:
        version = Version(**entry | {"manifest": {}})
        for name, sha256 in version.files.items():
            if name.startswith("/") or ".." in name.split("/"):
                raise self._broken(f"{name!r} is no path of a file in a repository")
            if sha256 not in found:
                raise self._broken(f"the content of {version.repo_id}/{name} is missing")
        if version.repo_type not in REPO_TYPES or not all(map(is_commit, version.commits)):
            raise ValueError(f"{version.repo_type} {version.repo_id}@{version.revision}")
        if MANIFEST in version.files:
            version.manifest = read_manifest(self.fetch(version, MANIFEST), version.repo_id, version.repo_type)
            if not version.manifest.keys() >= READ:
                raise KeyError(*READ - version.manifest.keys())
        return version


def _add(archive: tarfile.TarFile, name: str, file: Any, size: int) -> None:
    """Add a member whose header depends on its name and content alone."""
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, file)
