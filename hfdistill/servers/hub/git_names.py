"""What git calls the Hub's commits: the ids of the objects that a clone of a repository consists of.

A commit is called by git's own name for it, so `git log` and the API show the same ids. Commits that were drawn by an
earlier version, or came from another Hub under their own ids, keep those, and git has a second name for them.
"""

import hashlib
import re
import sqlite3
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from .blobs import BlobStore
from .database import Database, new_oid
from .history import Commit
from .trees import FILE, FOLDER, LARGE, NEW, Trees


ATTRIBUTES = ".gitattributes"
BY_LFS = "filter=lfs diff=lfs merge=lfs -text"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS git_trees (id TEXT PRIMARY KEY REFERENCES trees ON DELETE CASCADE, git TEXT NOT NULL)",
    # Deferred, since a commit's id has to be known before its files, and so its row, can be written.
    "CREATE TABLE IF NOT EXISTS git_commits (repo_id INTEGER NOT NULL, oid TEXT NOT NULL, git TEXT NOT NULL, "
    "PRIMARY KEY (repo_id, oid), FOREIGN KEY (repo_id, oid) REFERENCES commits ON DELETE CASCADE "
    "DEFERRABLE INITIALLY DEFERRED) WITHOUT ROWID",
)


def git_oid(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


EMPTY = git_oid("tree", b"")


def attribute_lines(folder: dict[str, Any]) -> list[bytes]:
    """The lines of `.gitattributes` by which git leaves a folder's large files to LFS.

    A line an ending where all files of that ending are large, a line a file elsewhere. Folders are told apart because
    a folder's git name may depend on nothing but what it holds.
    """
    large: dict[str, list[str]] = {}
    small = set()
    for name, entry in folder.items():
        if isinstance(entry, dict):
            continue
        if entry.kind == LARGE:
            large.setdefault(PurePosixPath(name).suffix, []).append(name)
        elif entry.kind == FILE:
            small.add(PurePosixPath(name).suffix)
    patterns = []
    for suffix, names in sorted(large.items()):
        if re.fullmatch(r"\.\w+", suffix, re.ASCII) and suffix not in small:
            patterns.append(f"/*{suffix}")
        else:
            patterns += [_pattern(name) for name in sorted(names)]
    return [f"{pattern} {BY_LFS}".encode() for pattern in patterns]


def _pattern(name: str) -> str:
    pattern = "/" + re.sub(r"([*?\[])", r"\\\1", name)
    if re.fullmatch(r"[!-~]+", pattern) and '"' not in pattern:
        return pattern
    return '"' + pattern.replace("\\", "\\\\").replace('"', '\\"') + '"'


def commit_object(commit: Commit, git_tree: str, parents: list[str]) -> bytes:
    """A commit as git keeps it; one with an id of its own has that in its message."""
    who = ident(commit.author, commit.created_at)
    lines = [f"tree {git_tree}", *(f"parent {oid}" for oid in parents), f"author {who}", f"committer {who}", ""]
    return "\n".join([*lines, message(commit)]).encode()


def ident(author: str, created_at: str) -> str:
    """Who made a commit or tag and when; the Hub knows no address, so the name stands there too."""
    name = re.sub(r"[<>\x00-\x1f]", "", author).strip(" .,:;\"'") or "unknown"
    seconds = int(datetime.fromisoformat(created_at.replace("Z", "+00:00")).timestamp())
    return f"{name} <{name}> {seconds} +0000"


def message(commit: Commit) -> str:
    parts = [commit.title, commit.message, commit.oid and f"Hub-Commit: {commit.oid}"]
    return "\n\n".join(part.replace("\0", "") for part in parts if part) + "\n"


class GitNames:
    """Finds and remembers git's names."""

    def __init__(self, database: Database, blobs: BlobStore, trees: Trees):
        self.database = database
        self.blobs = blobs
        self.trees = trees
        with database.write() as write:
            for statement in SCHEMA:
                write.execute(statement)

    def tree(self, write: sqlite3.Connection, tree_id: str) -> str:
        """git's name of a stored tree."""
        row = write.execute("SELECT git FROM git_trees WHERE id = ?", (tree_id,)).fetchone()
        if row:
            return row["git"]
        git = self.edited(write, self.trees.load(tree_id))
        write.execute("INSERT INTO git_trees VALUES (?, ?)", (tree_id, git))
        return git

    def edited(self, write: sqlite3.Connection, folder: dict[str, Any]) -> str:
        """git's name of a folder whose entries are those of trees or, where they are being changed, folders too."""
        objects = {}
        for name, child in folder.items():
            if isinstance(child, dict):
                objects[f"{name}/"] = "40000", self.edited(write, child)
            elif child.kind == FOLDER:
                objects[f"{name}/"] = "40000", self.tree(write, child.oid)
            else:
                objects[name] = "100644", child.oid
        if (attributes := self.attributes(folder)) is not None:
            objects[ATTRIBUTES] = "100644", git_oid("blob", attributes)
        # git sorts a folder as if its name ended in a slash, and keeps none that is empty.
        lines = [
            f"{mode} {name.rstrip('/')}\0".encode() + bytes.fromhex(oid)
            for name, (mode, oid) in sorted(objects.items(), key=lambda item: item[0].encode())
            if oid != EMPTY
        ]
        return git_oid("tree", b"".join(lines))

    def attributes(self, folder: dict[str, Any]) -> bytes | None:
        """The `.gitattributes` that a clone has in a folder; `None` where it is the repository's own, or none."""
        lines = attribute_lines(folder)
        own = folder.get(ATTRIBUTES)
        if not lines or isinstance(own, dict) or (own and own.kind == FOLDER):
            return None
        text = b""
        if own and own.kind == FILE and (blob := self.blobs.find(own.sha256)):
            text = blob.read()
        missing = [line for line in lines if line not in text.splitlines()]
        if text and not text.endswith(b"\n"):
            text += b"\n"
        return text + b"".join(line + b"\n" for line in missing)

    def find(self, repo_id: int, oid: str) -> str | None:
        """git's name of a commit, where it is known."""
        row = self.database.row("SELECT git FROM git_commits WHERE repo_id = ? AND oid = ?", repo_id, oid)
        return row["git"] if row else None

    def new_commit(self, write: sqlite3.Connection, commit: Commit, git_tree: str) -> Commit:
        """A commit that is being made, under its id: git's name, or a drawn one where a parent's is not known."""
        parents = [self.find(commit.repo_id, oid) for oid in commit.parents]
        if None in parents:
            return replace(commit, oid=new_oid())
        oid = git_oid("commit", commit_object(commit, git_tree, parents))
        self._record(write, commit.repo_id, oid, oid)
        return replace(commit, oid=oid)

    def commit(self, write: sqlite3.Connection, commit: Commit) -> str:
        """git's name of a stored commit whose parents have one."""
        known = self.find(commit.repo_id, commit.oid)
        if known is None:
            parents = [self.find(commit.repo_id, oid) for oid in commit.parents]
            tree = self.tree(write, commit.tree)
            known = git_oid("commit", commit_object(replace(commit, oid=NEW), tree, parents))
            if known != commit.oid:
                known = git_oid("commit", commit_object(commit, tree, parents))
            self._record(write, commit.repo_id, commit.oid, known)
        return known

    def _record(self, write: sqlite3.Connection, repo_id: int, oid: str, git: str) -> None:
        write.execute("INSERT OR IGNORE INTO git_commits VALUES (?, ?, ?)", (repo_id, oid, git))
