"""Repositories as git has them: a bare one for each that was cloned, made by git itself and kept up to date.

It holds what is small; of large files it holds the pointers, as everywhere in git. Nothing in it is not also in the
Hub, so it may be removed at any time.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .blobs import pointer_text
from .direct_files import disk_errors
from .errors import HubError
from .git_names import ATTRIBUTES, git_oid, ident, message
from .history import Commit
from .repositories import MAIN, Repo, Repositories
from .trees import FILE, FOLDER, LARGE, NEW, Entry, Tree


IMPORT = "refs/hub/import"
# Commits that get their names in one transaction.
BATCH = 100
SETTINGS = {
    # The folder may belong to another user than the server, e.g. in a container.
    "safe.directory": "*",
    "core.bigFileThreshold": "1m",
    "pack.threads": "1",
    "pack.windowMemory": "32m",
    # A pack appears when it is whole; loose objects would come one by one.
    "fastimport.unpackLimit": "0",
    "gc.autoDetach": "false",
    "gc.pruneExpire": "never",
    "uploadpack.allowFilter": "true",
    "http.receivepack": "false",
    "http.getanyfile": "false",
}


class Change(NamedTuple):
    """A path as a commit leaves it; without an entry it is gone. `data` is what the Hub does not keep as a file."""

    path: str
    entry: Entry | None = None
    data: bytes | None = None


def environment() -> dict[str, str]:
    """Of all of the Hub's calls of git: the machine's and the user's own settings are no part of them."""
    settings = {}
    for number, (key, value) in enumerate(SETTINGS.items()):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(SETTINGS)),
        **settings,
    }


def need_git() -> None:
    if shutil.which("git") is None:
        raise HubError(501, "git clone needs the program git on the Hub's machine; `hf download` works without it.")


class GitCache:
    """Makes the bare repositories.

    Args:
        folder (`Path`):
            Where they are kept; made if it does not exist.
    """

    def __init__(self, folder: Path, repositories: Repositories):
        self.folder = folder
        self.repositories = repositories
        self.database, self.trees, self.names = repositories.database, repositories.trees, repositories.git_names
        self._locks: dict[Path, threading.Lock] = defaultdict(threading.Lock)

    def path(self, repo: Repo) -> Path:
        # SQLite gives a deleted row's number to the next one: the time tells them apart.
        return self.folder / f"{repo.id}-{re.sub(r'[^0-9]', '', repo.created_at)}"

    def update(self, repo: Repo) -> Path:
        """The bare repository with all branches, tags and pull requests as they are now.

        Raises:
            [`HubError`]: 501, this machine has no git.
        """
        need_git()
        path = self.path(repo)
        found = {f"refs/{name}": oid for name, oid in self.repositories.refs(repo, "refs/").items()}
        # Where one name is also another's folder, git can have only one of them.
        refs = {name: oid for name, oid in found.items() if not any(parent in found for parent in _above(name))}
        rows = self.database.rows("SELECT * FROM tag_messages WHERE repo_id = ?", repo.id)
        messages = {row["name"]: row for row in rows if row["name"] in refs}
        wanted = [refs, {name: list(row) for name, row in messages.items()}]
        with self._locks[path], disk_errors():
            state = path / "hub-refs.json"
            if state.exists() and json.loads(state.read_text()) == wanted:
                return path
            if not (path / "HEAD").exists():
                path.mkdir(parents=True, exist_ok=True)
                _git(path, "init", "--bare", "--quiet", "--template=", f"--initial-branch={MAIN.rpartition('/')[2]}")
            with _Objects(path) as objects:
                self._import(repo, path, refs.values(), objects)
            self._set_refs(repo, path, refs, messages)
            _git(path, "gc", "--auto", "--quiet")
            state.write_text(json.dumps(wanted))
        return path

    def remove(self, keep: Iterable[Repo]) -> None:
        """Removes all but those of some repositories."""
        kept = {self.path(repo) for repo in keep}
        for path in self.folder.glob("*"):
            if path not in kept:
                # By another name first, so that an update under way cannot leave half of it there.
                shutil.rmtree(path.rename(path.with_suffix(".removed")))

    def _set_refs(self, repo: Repo, path: Path, refs: dict[str, str], messages: dict[str, sqlite3.Row]) -> None:
        old = _git(path, "for-each-ref", "--format=%(refname)").decode().splitlines()
        _git(path, "update-ref", "--stdin", text="".join(f"delete {name}\n" for name in old if name not in refs))
        new = {name: self.names.find(repo.id, oid) for name, oid in refs.items()}
        for name, row in messages.items():
            # Such a tag is an object of its own in git, which points at the commit.
            head = f"object {new[name]}\ntype commit\ntag {name.removeprefix('refs/tags/')}\n"
            text = row["message"].replace("\0", "")
            tag = f"{head}tagger {ident(row['author'], row['created_at'])}\n\n{text}\n"
            new[name] = _git(path, "mktag", text=tag).decode().strip()
        _git(path, "update-ref", "--stdin", text="".join(f"update {name} {git}\n" for name, git in new.items()))

    def _import(self, repo: Repo, path: Path, heads: Iterable[str], objects: "_Objects") -> None:
        waiting = self._missing(repo, heads, objects)
        for start in range(0, len(waiting), BATCH):
            with self.database.write() as write:
                for oid in waiting[start : start + BATCH]:
                    self.names.commit(write, self.repositories.commit(repo, oid))
        if not waiting:
            return
        with _fast_import(path) as stream:
            # git finds a content that it has just been sent by its id, but a commit only by a number.
            contents: set[str] = set()
            marks = {oid: f":{number}" for number, oid in enumerate(waiting, 1)}
            for oid in waiting:
                self._send(stream, repo, self.repositories.commit(repo, oid), objects, contents, marks)

    def _missing(self, repo: Repo, heads: Iterable[str], objects: "_Objects") -> list[str]:
        """The commits that are not there yet, parents first."""
        order: list[str] = []
        seen: set[str] = set()
        stack = [(oid, False) for oid in heads]
        while stack:
            oid, ready = stack.pop()
            if ready:
                order.append(oid)
            elif oid not in seen:
                seen.add(oid)
                git = self.names.find(repo.id, oid)
                if git is None or git not in objects:
                    stack.append((oid, True))
                    stack += [(parent, False) for parent in self.repositories.commit(repo, oid).parents]
        return order

    def _send(
        self,
        stream: BinaryIO,
        repo: Repo,
        commit: Commit,
        objects: "_Objects",
        contents: set[str],
        marks: dict[str, str],
    ) -> None:
        """One commit, after the contents that are new with it."""
        mark, parents = marks[commit.oid], commit.parents
        before = self.trees.load(self.repositories.commit(repo, parents[0]).tree) if parents else {}
        changes = list(self._changes(before, self.trees.load(commit.tree)))
        for change in changes:
            if change.entry and change.entry.oid not in contents and change.entry.oid not in objects:
                data = self._content(change)
                stream.write(b"blob\ndata %d\n%b\n" % (len(data), data))
                contents.add(change.entry.oid)
        if self.names.find(repo.id, commit.oid) == commit.oid:
            commit = replace(commit, oid=NEW)
        who, text = ident(commit.author, commit.created_at), message(commit).encode()
        lines = [] if parents else [f"reset {IMPORT}", ""]
        lines += [f"commit {IMPORT}", f"mark {mark}", f"author {who}", f"committer {who}", f"data {len(text)}", ""]
        stream.write("\n".join(lines).encode() + text)
        for word, parent in zip(("from", "merge"), parents, strict=False):
            stream.write(f"{word} {marks.get(parent) or self.names.find(repo.id, parent)}\n".encode())
        for change in changes:
            stream.write(_line(change))
        stream.write(b"\n")

    def _changes(self, old: Tree, new: Tree, prefix: str = "") -> Iterator[Change]:
        """What turns one folder into another, what is removed first."""
        (old, _), (new, attributes) = self._as_cloned(old), self._as_cloned(new)
        for name, entry in old.items():
            if name not in new or (new[name].kind == FOLDER) != (entry.kind == FOLDER):
                yield Change(prefix + name)
        for name, entry in new.items():
            before = old.get(name)
            if entry.kind == FOLDER:
                if before is None or before.oid != entry.oid:
                    folder = self.trees.load(before.oid) if before and before.kind == FOLDER else {}
                    yield from self._changes(folder, self.trees.load(entry.oid), f"{prefix}{name}/")
            elif before is None or before.oid != entry.oid:
                yield Change(prefix + name, entry, attributes if name == ATTRIBUTES else None)

    def _as_cloned(self, folder: Tree) -> tuple[Tree, bytes | None]:
        """A folder with the `.gitattributes` that the Hub adds, and the text of that."""
        attributes = self.names.attributes(folder)
        if attributes is None:
            return folder, None
        added = Entry(FILE, git_oid("blob", attributes), len(attributes), None, NEW)
        return {**folder, ATTRIBUTES: added}, attributes

    def _content(self, change: Change) -> bytes:
        entry = change.entry
        if change.data is not None:
            return change.data
        if entry.kind == LARGE:
            return pointer_text(entry.sha256, entry.size)
        blob = self.repositories.blobs.find(entry.sha256)
        if blob is None:
            raise HubError(500, f"The content of '{change.path}' is missing: run `hfdistill hub fsck`.")
        return blob.read()


def _above(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _line(change: Change) -> bytes:
    path = change.path.replace("\\", "\\\\").replace('"', '\\"')
    if change.entry is None:
        return f'D "{path}"\n'.encode()
    return f'M 100644 {change.entry.oid} "{path}"\n'.encode()


def _git(path: Path, *arguments: str, text: str = "") -> bytes:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=path, env=environment(), input=text.encode(), capture_output=True)
    if done.returncode:
        raise _failed(path, arguments[0], done.stderr)
    return done.stdout


def _failed(path: Path, what: str, said: bytes) -> Exception:
    text = said.decode(errors="replace").strip()
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return HubError(507, "The Hub's disk is full.")
    return RuntimeError(f"git {what} in {path.name}: {text}")


@contextmanager
def _fast_import(path: Path) -> Iterator[BinaryIO]:
    """git's own way to take in a history; what was sent becomes visible at the end, all of it."""
    command = ["git", "fast-import", "--quiet", "--force", "--done"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=path, env=environment(), stdin=subprocess.PIPE, stdout=errors, stderr=errors
        )
        try:
            yield process.stdin
            process.stdin.write(b"done\n")
            process.stdin.close()
        except BrokenPipeError:
            pass  # git has given up; it says why
        finally:
            if not process.stdin.closed:
                process.kill()
            status = process.wait()
        if status:
            errors.seek(0)
            raise _failed(path, "fast-import", errors.read())


class _Objects:
    """Whether a bare repository has an object."""

    def __init__(self, path: Path):
        command = ["git", "cat-file", "--batch-check=%(objectname)"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=path, env=environment(), stdin=pipe, stdout=pipe)

    def __contains__(self, oid: str) -> bool:
        self._process.stdin.write(f"{oid}\n".encode())
        self._process.stdin.flush()
        return not self._process.stdout.readline().endswith(b"missing\n")

    def __enter__(self) -> "_Objects":
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
