"""The large files of a repository, whatever commit holds them: which there are, and how one goes for good."""

import json
import sqlite3
from dataclasses import replace

from .database import Database
from .errors import HubError
from .history import Commit
from .repositories import MAIN, Repo, Repositories
from .trees import EMPTY_TREE, FOLDER, NEW, Entry, TreeEdit


# Entries of folders that a rewriting may read: it holds all other writers back meanwhile.
MAX_READ = 500_000


class LargeFiles:
    """Lists and deletes."""

    def __init__(self, database: Database, repositories: Repositories):
        self.database = database
        self.repositories = repositories

    def listed(self, repo: Repo, limit: int, offset: int) -> list[sqlite3.Row]:
        """Rows of `large_files`, the last pushed first."""
        return self.database.rows(
            "SELECT * FROM large_files WHERE repo_id = ? ORDER BY created_at DESC, sha256 LIMIT ? OFFSET ?",
            repo.id,
            limit,
            offset,
        )

    def delete(self, repo: Repo, doomed: set[str]) -> None:
        """Takes contents out of every commit of a repository; what follows such a commit gets a new id.

        The bytes go with the next `hfdistill hub gc`, unless another repository holds them.

        Raises:
            [`HubError`]: 404, the repository does not hold one of them; 413, it is too large to be rewritten.
        """
        with self.database.write() as write:
            rows = write.execute("SELECT sha256 FROM large_files WHERE repo_id = ?", (repo.id,))
            if missing := doomed - {row["sha256"] for row in rows}:
                raise HubError(404, f"{repo.repo_id} holds no large file {min(missing)}.")
            new_ids = _Rewriting(self.repositories, write, repo, doomed).run()
            for old, new in new_ids.items():
                keys = (new, repo.id, old)
                write.execute("UPDATE refs SET oid = ? WHERE repo_id = ? AND oid = ?", keys)
                write.execute("UPDATE discussions SET base_oid = ? WHERE repo_id = ? AND base_oid = ?", keys)
                write.execute("UPDATE discussions SET merge_oid = ? WHERE repo_id = ? AND merge_oid = ?", keys)
                write.execute(
                    "UPDATE events SET data = json_set(data, '$.oid', ?) "
                    "WHERE repo_id = ? AND type = 'commit' AND json_extract(data, '$.oid') = ?",
                    keys,
                )
                write.execute("DELETE FROM commits WHERE repo_id = ? AND oid = ?", (repo.id, old))
            marks = json.dumps(sorted(doomed))
            write.execute(
                "DELETE FROM large_files WHERE repo_id = ? AND sha256 IN (SELECT value FROM json_each(?))",
                (repo.id, marks),
            )
            head = self.repositories.resolve(repo, MAIN)
            self.repositories.move_ref(write, repo, MAIN, head)


class _Rewriting:
    """Makes a repository's commits again without some contents."""

    def __init__(self, repositories: Repositories, write: sqlite3.Connection, repo: Repo, doomed: set[str]):
        self.repositories = repositories
        self.write = write
        self.doomed = doomed
        rows = write.execute("SELECT * FROM commits WHERE repo_id = ?", (repo.id,))
        self.commits = {row["oid"]: Commit(*row) for row in rows}
        self.new_ids: dict[str, str] = {}
        self._done: set[str] = set()
        self._holding: dict[str, bool] = {}
        self._read = 0

    def run(self) -> dict[str, str]:
        """New ids by old ones, of the commits that had to change."""
        waiting = list(self.commits)
        while waiting:
            commit = self.commits[waiting[-1]]
            before = [oid for oid in commit.parents if oid in self.commits and oid not in self._done]
            if commit.oid in self._done or not before:
                waiting.pop()
                if commit.oid not in self._done:
                    self._done.add(commit.oid)
                    self._renew(commit)
            waiting += before
        return self.new_ids

    def _renew(self, commit: Commit) -> None:
        parent, merged = (self.new_ids.get(oid, oid) for oid in (commit.parent, commit.merged))
        if (parent, merged) == (commit.parent, commit.merged) and not self._holds(commit.tree):
            return
        edit = TreeEdit(self.repositories.trees, EMPTY_TREE[0])
        edit.root = self._without(commit.tree, commit.oid)
        made = replace(commit, oid="", tree="", parent=parent, merged=merged)
        self.new_ids[commit.oid] = self.repositories.add_commit(self.write, made, edit).oid

    def _load(self, tree_id: str) -> dict[str, Entry]:
        tree = self.repositories.trees.load(tree_id)
        self._read += len(tree)
        if self._read > MAX_READ:
            raise HubError(413, "The history is too long to be rewritten: squash it first (super_squash_history).")
        return tree

    def _holds(self, tree_id: str) -> bool:
        if tree_id not in self._holding:
            self._holding[tree_id] = any(
                self._holds(entry.oid) if entry.kind == FOLDER else entry.sha256 in self.doomed
                for entry in self._load(tree_id).values()
            )
        return self._holding[tree_id]

    def _without(self, tree_id: str, commit: str) -> dict:
        """A folder opened, without what goes; what says which commit changed it says so in the new ids."""
        folder: dict = {}
        for name, entry in self._load(tree_id).items():
            if entry.kind == FOLDER:
                folder[name] = self._without(entry.oid, commit)
            elif entry.sha256 not in self.doomed:
                changed_by = NEW if entry.commit == commit else self.new_ids.get(entry.commit, entry.commit)
                folder[name] = entry._replace(commit=changed_by)
        return folder
