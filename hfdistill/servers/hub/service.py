"""The parts of a Hub, put together over one data folder."""

import fcntl
import os
import secrets
import stat
from pathlib import Path

from ...errors import HFDistillError
from .accounts import Accounts
from .blobs import BlobStore
from .collections import Collections
from .commits import Committer
from .database import Database
from .direct_files import make_folders
from .discussions import Discussions
from .git_cache import GitCache
from .lfs_files import LargeFiles
from .metadata import Metadata
from .readers import Readers
from .repositories import Repositories
from .trees import Trees
from .xorbs import XorbStore


def boot_id() -> str:
    """Changes when the machine starts; where that cannot be told, it always changes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return secrets.token_hex(8)


class Hub:
    """A Hub's state.

    Args:
        data_dir (`str` or `os.PathLike`):
            Its folder; made if it does not exist.
        loopback (`bool`, *optional*, defaults to `True`):
            Whether only this machine can reach it; only then it may run without tokens.
    """

    def __init__(self, data_dir: str | os.PathLike, loopback: bool = True):
        self.data_dir = Path(data_dir).expanduser().resolve()
        self.loopback = loopback
        make_folders(self.data_dir)
        self._keep_others_out()
        self.database = Database(self.data_dir / "hub.sqlite")
        self.blobs = BlobStore(self.data_dir / "blobs", self.database)
        self.xorbs = XorbStore(self.data_dir / "xorbs", self.blobs)
        self.trees = Trees(self.database)
        self.accounts = Accounts(self.database)
        # Apart, so that whoever looks at pages keeps no commit waiting.
        self.readers, self.page_readers = Readers(2), Readers(2)
        self.metadata = Metadata(self.readers, self.blobs)
        self.repositories = Repositories(self.database, self.blobs, self.trees, self.metadata)
        self.committer = Committer(self.database, self.blobs, self.repositories)
        self.discussions = Discussions(self.database, self.repositories, self.committer, self.trees)
        self.large_files = LargeFiles(self.database, self.repositories)
        self.collections = Collections(self.database, self.repositories)
        self.git = GitCache(self.data_dir / "git", self.repositories)
        self._lock: int | None = None

    def _keep_others_out(self) -> None:
        """Also from a folder that was there before: it holds everybody's private contents."""
        if stat.S_IMODE(self.data_dir.stat().st_mode) == 0o700:
            return
        try:
            self.data_dir.chmod(0o700)
        except PermissionError as error:
            raise HFDistillError(f"{self.data_dir} belongs to another user: a Hub's folder must be its own") from error

    def lock(self) -> None:
        """Makes this process the folder's only server, and clears what a killed one left half received.

        Raises:
            [`HFDistillError`]: Another server holds the folder.
        """
        descriptor = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise HFDistillError(f"another `hfdistill hub serve` already uses {self.data_dir}") from error
        self._lock = descriptor
        self.blobs.clear_temporary()
        if self.database.meta("boot") != (boot := boot_id()):
            # Xorbs that no file is made of are not flushed, so some from before the machine went down may be missing.
            self.xorbs.end()
            self.database.set_meta("boot", boot)

    def close(self) -> None:
        self.readers.close()
        self.page_readers.close()
        self.database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
