"""A push: read the operations, store their contents, and publish all of them at once."""

import base64
import binascii
import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from .accounts import User
from .blobs import SMALL, BlobStore, check_sha256, check_size, git_oid
from .contents import Blob
from .database import Database, now
from .errors import HubError, bad_request, revision_not_found
from .history import Commit
from .metadata import JOBS, Metadata
from .repositories import Repo, Repositories
from .strict_json import parse_json
from .trees import FILE, TreeEdit, check_path


MAX_OPERATIONS = 100_000
# As on the real Hub: what is not large is small.
MAX_REGULAR = 10 * 1000**2
# That much in base64, with its path.
MAX_LINE = 14 * 1000**2
MAX_TEXT_LINE = 4 * 1000**2
# Bytes of contents that a push may keep in memory.
MAX_HELD = 32 * 1024**2


@dataclass
class Push:
    """The operations of one commit, contents already hashed; `long` holds those that are to be files."""

    title: str = ""
    description: str = ""
    parent: str | None = None
    operations: list[tuple] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    long: dict[str, bytes] = field(default_factory=dict)
    held: int = 0

    def hold(self, data: bytes, blobs: BlobStore, user: User) -> str:
        """Keeps a content in memory, or all held ones where they become too much; returns its sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        (self.contents if len(data) <= SMALL else self.long)[sha256] = data
        self.held += len(data)
        if self.held > MAX_HELD:
            with blobs.database.write() as write:
                blobs.put_small(write, self.contents)
            self.contents.clear()
            self.put_long(blobs, user)
            self.held = 0
        return sha256

    def put_long(self, blobs: BlobStore, user: User) -> None:
        if self.long:
            blobs.put_all(self.long, user.name)
            self.long.clear()

    def read_metadata(self, metadata: Metadata, user: User) -> None:
        """Has the metadata of its files read before it takes the write lock, under which they then are at hand."""
        last = {operation[1]: operation for operation in self.operations if operation[1] in JOBS}
        for path, operation in last.items():
            if operation[0] != "delete":
                sha256 = operation[-1] if operation[0] == "file" else operation[2]
                data = self.contents.get(sha256)
                metadata.read(user.name, path, sha256, None if data is None else Blob(len(data), data))


def read_push(body: BinaryIO, blobs: BlobStore, user: User) -> Push:
    """Reads a commit's NDJSON. Contents too long for the database go to their files.

    Raises:
        [`HubError`]: 400 for a malformed line, 413 for one that is too long or too many operations.
    """
    push = Push()
    headed = False
    for line in filter(bytes.strip, _lines(body)):
        item = parse_json(line, "A line of the commit")
        key = item.get("key") if isinstance(item, dict) else None
        value = item.get("value") if isinstance(item, dict) else None
        if not isinstance(value, dict):
            raise bad_request("Each line of a commit needs a 'key' and a 'value'.")
        if key == "header":
            headed = True
            push.title = _text(value.get("summary"), "summary", 1000)
            push.description = _text(value.get("description", ""), "description", 100_000)
            push.parent = value.get("parentCommit")
            if push.parent is not None and not isinstance(push.parent, str):
                raise bad_request("The commit's 'parentCommit' must be a string.")
            continue
        if len(push.operations) >= MAX_OPERATIONS:
            raise HubError(413, f"A commit takes at most {MAX_OPERATIONS} operations.")
        path = value.get("path")
        check_path(path.rstrip("/") if key == "deletedFolder" and isinstance(path, str) else path)
        if key == "file":
            _add_content(push, path, value, blobs, user)
        elif key == "lfsFile":
            size = value.get("size")
            size = check_size(size) if size is not None else None
            push.operations.append(("large", path, check_sha256(value.get("oid")), size))
        elif key in ("deletedFile", "deletedFolder"):
            push.operations.append(("delete", path, key == "deletedFolder"))
        else:
            raise bad_request(f"Unknown operation {key!r}: header, file, lfsFile, deletedFile or deletedFolder.")
    if not headed or not push.title.strip():
        raise bad_request("A commit needs a header with a summary.")
    push.put_long(blobs, user)
    return push


def _lines(body: BinaryIO) -> Iterator[bytes]:
    while line := body.readline(MAX_LINE + 1):
        # What is not ASCII may take four times its room in memory; clients send contents as base64.
        if len(line) > MAX_LINE or (len(line) > MAX_TEXT_LINE and not line.isascii()):
            raise HubError(413, f"A line of the commit is over {MAX_LINE} bytes: upload large files as LFS.")
        yield line


def _text(value: object, what: str, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise bad_request(f"The commit's {what} must be a string of at most {limit} characters.")
    return value.encode("utf-8", "replace").decode()


def _add_content(push: Push, path: str, value: dict, blobs: BlobStore, user: User) -> None:
    content = value.get("content")
    if not isinstance(content, str):
        raise bad_request(f"The content of '{path}' must be a string.")
    if value.get("encoding", "base64") == "base64":
        try:
            data = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise bad_request(f"The content of '{path}' is not valid base64.") from error
    else:
        data = content.encode("utf-8", "replace")
    if len(data) > MAX_REGULAR:
        raise HubError(413, f"'{path}' has {len(data)} bytes: files over {MAX_REGULAR} must be uploaded as LFS.")
    sha256 = push.hold(data, blobs, user)
    push.operations.append(("file", path, git_oid(data), len(data), sha256))


class Committer:
    """Publishes pushes. Everything that a commit consists of becomes visible in one transaction."""

    def __init__(self, database: Database, blobs: BlobStore, repositories: Repositories):
        self.database = database
        self.blobs = blobs
        self.repositories = repositories

    def commit(self, user: User, repo: Repo, ref: str, push: Push) -> Commit:
        """Adds a commit to `ref`.

        Raises:
            [`HubError`]: 412 where `ref` has moved on from the announced parent.
        """
        with self.database.write() as write:
            return self.apply(write, user, repo, ref, push)

    def apply(
        self, write: sqlite3.Connection, user: User, repo: Repo, ref: str, push: Push, start: str | None = None
    ) -> Commit:
        """[`commit`] inside of a transaction that does more; `start` is what a ref that does not exist builds on."""
        row = write.execute("SELECT oid FROM refs WHERE repo_id = ? AND name = ?", (repo.id, ref)).fetchone()
        head = row["oid"] if row else start
        if head is None:
            raise revision_not_found(ref)
        if row and push.parent is not None and not _same_commit(push.parent, head):
            raise HubError(412, f"A commit has happened since. Please refresh and try again: {head} is the last.")
        parent = self.repositories.commit(repo, head)
        edit = TreeEdit(self.repositories.trees, parent.tree)
        large = self._apply(edit, push, user, repo)
        self.blobs.put_small(write, push.contents)
        if not edit.changed and row:
            # Nothing changed: as on the real Hub, the branch stays where it is and the client is told its head.
            return parent
        commit = Commit(repo.id, "", "", parent.oid, None, push.title, push.description, user.name, now())
        rows = ((repo.id, sha256, size, path, ref, now()) for sha256, (size, path) in large.items())
        write.executemany("INSERT OR IGNORE INTO large_files VALUES (?, ?, ?, ?, ?, ?)", rows)
        commit = self.repositories.add_commit(write, commit, edit)
        self.repositories.move_ref(write, repo, ref, commit)
        return commit

    def squash(self, user: User, repo: Repo, ref: str, message: str) -> Commit:
        """Replaces a branch's history by one commit with the same files."""
        with self.database.write() as write:
            row = write.execute("SELECT oid FROM refs WHERE repo_id = ? AND name = ?", (repo.id, ref)).fetchone()
            if row is None:
                raise revision_not_found(ref)
            tree = self.repositories.commit(repo, row["oid"]).tree
            commit = Commit(repo.id, "", tree, None, None, message, "", user.name, now())
            commit = self.repositories.add_commit(write, commit)
            self.repositories.move_ref(write, repo, ref, commit)
        return commit

    def _apply(self, edit: TreeEdit, push: Push, user: User, repo: Repo) -> dict[str, tuple[int, str]]:
        large: dict[str, tuple[int, str]] = {}
        # Deletions first: clients may delete a folder and add files to it in one commit, in either order.
        for operation in sorted(push.operations, key=lambda operation: operation[0] != "delete"):
            if operation[0] == "delete":
                edit.delete(operation[1], folder=operation[2])
            elif operation[0] == "file":
                _, path, oid, size, sha256 = operation
                if sha256 not in push.contents and self.blobs.find(sha256) is None:
                    raise HubError(500, f"The content of '{path}' is gone: push again.")
                edit.put(path, FILE, oid, size, sha256)
            else:
                _, path, sha256, announced = operation
                size = self.large_size(user, repo, sha256)
                if size is None:
                    raise bad_request(f"LFS pointer of '{path}' points to a file that does not exist: {sha256}.")
                if announced is not None and announced != size:
                    raise bad_request(f"'{path}' has {size} bytes, not {announced}.")
                edit.put_large(path, sha256, size)
                large[sha256] = size, path
        return large

    def large_size(self, user: User, repo: Repo, sha256: str) -> int | None:
        """The size of a content that `user` may put into `repo`; `None` if there is none.

        Knowing a hash is no right to read: the content must have been uploaded by this user, or lie in a repository
        that this user can read.
        """
        blob = self.blobs.find(sha256)
        if blob is None:
            return None
        if user.role != "admin" and not self._may_use(user, repo, sha256):
            return None
        return blob.size

    def _may_use(self, user: User, repo: Repo, sha256: str) -> bool:
        if self.database.row("SELECT 1 FROM uploads WHERE sha256 = ? AND user = ?", sha256, user.name):
            return True
        holders = self.database.rows(
            "SELECT repos.* FROM large_files JOIN repos ON repos.id = large_files.repo_id WHERE sha256 = ?", sha256
        )
        return any(
            holder.id == repo.id
            or (self.repositories.may_see(user, holder) and self.repositories.has_access(user, holder))
            for holder in map(Repo.of, holders)
        )


def _same_commit(announced: object, head: str) -> bool:
    return isinstance(announced, str) and len(announced) >= 7 and head.startswith(announced)
