"""Taking in repositories of another Hub, commit by commit, under the ids that they have there."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .accounts import OPEN_USER
from .blobs import SMALL, check_size, git_oid
from .direct_files import PIECE, disk_errors, make_folders, put
from .errors import HubError
from .history import Commit
from .repositories import MAIN, Repo
from .service import Hub
from .trees import EMPTY_TREE, FILE, LARGE, TreeEdit


# What is known of files whose commit has not come in whole yet: git's name of a content, and its sha256.
SCHEMA = "CREATE TABLE IF NOT EXISTS intake (git TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID"
USER = replace(OPEN_USER, name="mirror")


class Listed(NamedTuple):
    """A file as the other Hub lists it: `oid` is git's name of it, `sha256` that of a large one's content."""

    path: str
    oid: str
    size: int
    sha256: str | None


class Intake:
    """One repository that comes in.

    Everything that it keeps is kept for good, so a kill at any point costs nothing that has come in already.

    Args:
        hub (`Hub`):
            Where to; a server may use its folder meanwhile.
        repo_type, repo_id (`str`):
            The repository; made, and private until [`finish`], if it does not exist.
        sdk (`str`, *optional*):
            Of a Space.

    Raises:
        [`HubError`]: 400, the name cannot be one here.
    """

    def __init__(self, hub: Hub, repo_type: str, repo_id: str, sdk: str | None = None):
        self.hub = hub
        self.database, self.repositories = hub.database, hub.repositories
        self.folder = hub.data_dir / "intake"
        make_folders(self.folder)
        with self.database.write() as write:
            write.execute(SCHEMA)
        namespace, _, name = repo_id.partition("/")
        self._coming = f"coming in: {repo_type} {repo_id}"
        if self.repositories.find(repo_type, namespace, name) is None:
            self.database.set_meta(self._coming, "1")
        self.repo, _ = self.repositories.create(USER, repo_type, namespace, name, True, sdk)

    def has(self, oid: str, parent: str | None) -> bool:
        """Whether a commit has come in already, and not without the parent that it gets now."""
        commit = self.repositories.find_commit(self.repo, oid)
        if commit and parent and commit.parent is None:
            self.known(oid)
            return False
        return commit is not None

    def lacks(self, files: Iterable[Listed]) -> list[Listed]:
        """Those of a commit's files whose contents have not come in yet, each content once."""
        return list({file.oid: file for file in files if self._sha256(file) is None}.values())

    def _sha256(self, file: Listed) -> str | None:
        sha256 = file.sha256
        if sha256 is None:
            row = self.database.row("SELECT sha256 FROM intake WHERE git = ?", file.oid)
            sha256 = row and row["sha256"]
        return sha256 if sha256 and self.hub.blobs.find(sha256) else None

    def known(self, oid: str | None) -> None:
        """Remembers the contents of a commit that is here, or of `main`, so that they need not come in again."""
        files = self.hub.trees.files(self.repositories.resolve(self.repo, oid or MAIN).tree)
        rows = [(entry.oid, entry.sha256) for _, entry in files if entry.kind == FILE]
        with self.database.write() as write:
            write.executemany("INSERT OR IGNORE INTO intake VALUES (?, ?)", rows)

    def partial(self, file: Listed) -> Path:
        """Where a large file is put while it comes in; what a killed process has left there is its beginning."""
        self.hub.blobs.check_space(check_size(file.size))
        return self.folder / file.sha256

    def keep(self, file: Listed, content: BinaryIO) -> None:
        """Keeps a content that has come in whole.

        Raises:
            [`HubError`]: 400, it is not what was listed.
        """
        if file.sha256:
            with self.hub.blobs.receive() as incoming:
                while piece := content.read(PIECE):
                    put(piece, incoming)
                self.hub.blobs.keep(incoming, file.sha256, USER.name)
            return
        data = content.read()
        if git_oid(data) != file.oid:
            raise HubError(400, f"The content of '{file.path}' is not the one that was listed, {file.oid}.")
        sha256 = hashlib.sha256(data).hexdigest()
        if len(data) > SMALL:
            self.hub.blobs.put(data, USER.name)
        with disk_errors(), self.database.write() as write:
            if len(data) <= SMALL:
                write.execute("INSERT OR IGNORE INTO small_blobs VALUES (?, ?)", (sha256, data))
            write.execute("INSERT OR REPLACE INTO intake VALUES (?, ?)", (file.oid, sha256))

    def add(self, commit: Commit, files: list[Listed]) -> None:
        """Adds a commit whose parent and contents are here.

        Raises:
            [`HubError`]: 500, a content is gone.
        """
        parent = self.repositories.commit(self.repo, commit.parent).tree if commit.parent else EMPTY_TREE[0]
        before = {path: (entry.kind, entry.oid) for path, entry in self.hub.trees.files(parent)}
        after = {file.path: (LARGE if file.sha256 else FILE, file.oid) for file in files}
        with self.database.write() as write:
            if self.repositories.find_commit(self.repo, commit.oid):
                # It came without its parent. With one it has another name in git, and so has all that follows.
                write.execute("DELETE FROM git_commits WHERE repo_id = ?", (self.repo.id,))
                write.execute("DELETE FROM commits WHERE repo_id = ? AND oid = ?", (self.repo.id, commit.oid))
            edit = TreeEdit(self.hub.trees, parent)
            for path in before.keys() - after.keys():
                edit.delete(path, folder=False)
            for file in files:
                if before.get(file.path) == after[file.path]:
                    continue
                sha256 = self._sha256(file)
                if sha256 is None:
                    raise HubError(500, f"The content of '{file.path}' is gone: run the same command again.")
                if file.sha256:
                    edit.put_large(file.path, sha256, file.size)
                    row = (self.repo.id, sha256, file.size, file.path, MAIN, commit.created_at)
                    write.execute("INSERT OR IGNORE INTO large_files VALUES (?, ?, ?, ?, ?, ?)", row)
                else:
                    edit.put(file.path, FILE, file.oid, file.size, sha256)
            made = replace(commit, repo_id=self.repo.id, tree=edit.save(write, commit.oid))
            self.repositories.insert_commit(write, made)
            if all(self.repositories.git_names.find(self.repo.id, oid) for oid in made.parents):
                self.repositories.git_names.commit(write, made)

    def set_refs(self, refs: dict[str, str], history: set[str]) -> None:
        """Points branches and tags at commits that are here.

        Args:
            history (`set[str]`):
                Commits of the other Hub; a branch here that is at none of them has commits of its own.

        Raises:
            [`HubError`]: 409, a branch or tag here is at a commit that the other Hub does not have.
        """
        for name, oid in refs.items():
            here = self.database.row("SELECT oid FROM refs WHERE repo_id = ? AND name = ?", self.repo.id, name)
            if here and here["oid"] not in history and not self._untouched(here["oid"]):
                raise HubError(
                    409,
                    f"'{name.split('/', 2)[2]}' of {self.repo.repo_id} is at {here['oid']} here, which the other Hub "
                    "does not have: delete the repository, branch or tag here, and run the same command again.",
                )
            commit = self.repositories.commit(self.repo, oid)
            if name == MAIN:
                self.hub.metadata.of_tree(USER.name, self.hub.trees.load(commit.tree))
            with self.database.write() as write:
                self.repositories.move_ref(write, self.repo, name, commit)

    def _untouched(self, oid: str) -> bool:
        """Whether a commit is the first one of a repository that was made here to be filled."""
        commit = self.repositories.commit(self.repo, oid)
        return commit.parent is None and commit.tree == EMPTY_TREE[0] and commit.author == USER.name

    def finish(self, private: bool, gated: str | None) -> Repo:
        """Shows a new repository to whoever could see it on the other Hub, and forgets what was kept for coming in."""
        with self.database.write() as write:
            if write.execute("DELETE FROM meta WHERE key = ?", (self._coming,)).rowcount:
                write.execute("UPDATE repos SET private = ?, gated = ? WHERE id = ?", (private, gated, self.repo.id))
            write.execute("DELETE FROM intake")
        return self.repositories.find(self.repo.type, self.repo.namespace, self.repo.name)
