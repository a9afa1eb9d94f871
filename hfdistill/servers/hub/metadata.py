"""What listings show of a repository's files: its card's metadata, its model's configuration."""

from collections.abc import Mapping

from .blobs import BlobStore
from .contents import Blob
from .readers import Readers, ReadingError
from .trees import FOLDER, Entry


# The files that hold it, and what reads them.
JOBS = {"README.md": "card", "config.json": "config"}


class Metadata:
    """Reads them once a content, beside everything else: what keeps its reader busy must not hold the write lock.

    Args:
        readers (`Readers`):
            Who reads.
        blobs (`BlobStore`):
            Where the contents are.
    """

    def __init__(self, readers: Readers, blobs: BlobStore):
        self.readers = readers
        self.blobs = blobs

    def read(self, user: str, path: str, sha256: str | None, blob: Blob | None = None) -> dict:
        """A file's metadata, `{}` where it has none or cannot be read.

        Args:
            user (`str`):
                Who sent it.
            path (`str`):
                One of `JOBS`.
            sha256 (`str`, *optional*):
                Its content.
            blob (`Blob`, *optional*):
                The same, where it is not kept yet.
        """
        blob = blob or (self.blobs.find(sha256) if sha256 else None)
        if blob is None:
            return {}
        try:
            return self.readers.read(user, JOBS[path], blob, key=sha256)
        except ReadingError:
            return {}

    def of_tree(self, user: str, root: Mapping[str, Entry]) -> dict[str, dict]:
        """The metadata of a tree's files by path."""
        files = {path: root[path] for path in JOBS if path in root and root[path].kind != FOLDER}
        return {path: self.read(user, path, entry.sha256) for path, entry in files.items()}
