"""Immutable trees of files: a row a folder, shared by all commits that did not change it."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .blobs import git_oid, pointer_text
from .database import Database
from .errors import HubError, bad_request


FILE, LARGE, FOLDER = "f", "l", "d"
MAX_DEPTH = 64
# In the place of the commit that last changed an entry, until that one has its id.
NEW = ""


class Entry(NamedTuple):
    """What a name stands for: a file, a large file (git would keep a pointer) or a folder.

    `oid` is git's sha1 of the content or of the pointer, or a folder's tree id; `commit` the commit that last
    changed it; a folder's `size` is the sum of what it holds.
    """

    kind: str
    oid: str
    size: int
    sha256: str | None
    commit: str

    @property
    def pointer(self) -> bytes:
        """What git keeps of a large file."""
        return pointer_text(self.sha256, self.size)


Tree = dict[str, Entry]
# A file's entry before and after, `None` where there is none.
Change = tuple[Entry | None, Entry | None]


def content(entry: Entry | None) -> tuple[str, str] | None:
    """What is equal where two files are."""
    return (entry.kind, entry.oid) if entry else None


def changed_files(before: Tree, after: Tree) -> dict[str, Change]:
    """Where two sets of files differ, by path."""
    pairs = {path: (before.get(path), after.get(path)) for path in sorted(before.keys() | after.keys())}
    return {path: pair for path, pair in pairs.items() if content(pair[0]) != content(pair[1])}


def check_path(path: object) -> list[str]:
    """Splits a path in a repository, refusing whatever could leave the folder that a client unpacks it to."""
    if not isinstance(path, str) or not path:
        raise bad_request(f"Invalid path {path!r}.")
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise bad_request(f"Invalid path {path!r}: not valid Unicode.") from error
    parts = path.split("/")
    if len(encoded) > 4096 or len(parts) > MAX_DEPTH or any(len(part.encode()) > 255 for part in parts):
        raise bad_request("Invalid path: too long or too deep.")
    if any(ord(letter) < 32 or letter in "\\\x7f" for letter in path):
        raise bad_request(f"Invalid path {path!r}: control characters and backslashes are not allowed.")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        raise bad_request(f"Invalid path {path!r}: '.', '..', '.git' and empty names are not allowed.")
    return parts


def pack(tree: Tree) -> tuple[str, bytes]:
    text = json.dumps(sorted(tree.items()), separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha1(b"tree" + text).hexdigest(), zlib.compress(text, 1)


def unpack(data: bytes) -> Tree:
    return {name: Entry(*fields) for name, fields in json.loads(zlib.decompress(data))}


EMPTY_TREE = pack({})


class Trees:
    """Reads trees and builds new ones."""

    def __init__(self, database: Database):
        self.database = database

    def load(self, tree_id: str) -> Tree:
        row = self.database.row("SELECT data FROM trees WHERE id = ?", tree_id)
        if row is None:
            if tree_id == EMPTY_TREE[0]:
                return {}
            raise RuntimeError(f"tree {tree_id} is missing: run `hfdistill hub fsck`")
        return unpack(row["data"])

    def find(self, root: str, path: str, loaded: dict[str, Tree] | None = None) -> Entry | None:
        """The entry at `path`, or `None`; who looks for many keeps what was loaded for one to find the next."""
        loaded = {} if loaded is None else loaded
        parts = path.split("/")
        tree_id = root
        for depth, part in enumerate(parts):
            if tree_id not in loaded:
                loaded[tree_id] = self.load(tree_id)
            entry = loaded[tree_id].get(part)
            if entry is None or depth == len(parts) - 1:
                return entry
            if entry.kind != FOLDER:
                return None
            tree_id = entry.oid
        return None

    def walk(self, root: str, prefix: str = "", recursive: bool = True) -> Iterator[tuple[str, Entry]]:
        """Every entry below `root` with its path, in the order of names, a folder before what it holds."""
        for name, entry in sorted(self.load(root).items()):
            path = f"{prefix}{name}"
            yield path, entry
            if recursive and entry.kind == FOLDER:
                yield from self.walk(entry.oid, f"{path}/")

    def files(self, root: str) -> Iterator[tuple[str, Entry]]:
        return ((path, entry) for path, entry in self.walk(root) if entry.kind != FOLDER)


class TreeEdit:
    """Changes to one tree, kept in memory until [`save`].

    Only the folders that change are loaded, and only they become new rows. `root` holds the entries by name; opened
    folders are dicts like it inside of their parent's, closed ones are still entries.
    """

    def __init__(self, trees: Trees, root: str):
        self.trees = trees
        self.changed = False
        self.root = self._open(root)

    def _open(self, tree_id: str | None) -> dict:
        return dict(self.trees.load(tree_id)) if tree_id else {}

    def _folder(self, parts: list[str], make: bool) -> dict | None:
        folder = self.root
        for part in parts:
            child = folder.get(part)
            if isinstance(child, Entry):
                if child.kind != FOLDER:
                    if make:
                        raise bad_request(f"'{part}' is a file, so nothing can be put below it.")
                    return None
                child = folder[part] = self._open(child.oid)
            elif child is None:
                if not make:
                    return None
                child = folder[part] = {}
            folder = child
        return folder

    def put(self, path: str, kind: str, oid: str, size: int, sha256: str) -> None:
        *parents, name = check_path(path)
        folder = self._folder(parents, make=True)
        old = folder.get(name)
        if isinstance(old, dict) or (old is not None and old.kind == FOLDER):
            raise bad_request(f"'{path}' is a folder, so no file can take its name.")
        if old is None or (old.kind, old.oid, old.sha256) != (kind, oid, sha256):
            folder[name] = Entry(kind, oid, size, sha256, NEW)
            self.changed = True

    def put_large(self, path: str, sha256: str, size: int) -> None:
        self.put(path, LARGE, git_oid(pointer_text(sha256, size)), size, sha256)

    def delete(self, path: str, folder: bool) -> None:
        *parents, name = check_path(path.rstrip("/"))
        parent = self._folder(parents, make=False)
        old = parent.get(name) if parent else None
        is_folder = isinstance(old, dict) or (old is not None and old.kind == FOLDER)
        if old is None or is_folder != folder:
            what = "folder" if folder else "file"
            raise HubError(404, f"Cannot delete '{path}': there is no such {what}.", "EntryNotFound")
        del parent[name]
        self.changed = True

    def save(self, write: sqlite3.Connection, commit: str) -> str:
        """Stores the changed folders as those of a commit and returns the root's id."""
        return self._save(self.root, write, commit)[0]

    def _save(self, folder: dict, write: sqlite3.Connection, commit: str) -> tuple[str, int]:
        tree: Tree = {}
        for name, child in folder.items():
            if isinstance(child, dict):
                tree_id, size = self._save(child, write, commit)
                if tree_id == EMPTY_TREE[0]:
                    continue  # as in git, a folder lives as long as it holds something
                child = Entry(FOLDER, tree_id, size, None, commit)
            tree[name] = child._replace(commit=commit) if child.commit == NEW else child
        tree_id, data = pack(tree)
        write.execute("INSERT OR IGNORE INTO trees VALUES (?, ?)", (tree_id, data))
        return tree_id, sum(entry.size for entry in tree.values())
