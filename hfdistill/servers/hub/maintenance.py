"""Looking after a Hub's folder: collecting what nothing refers to, checking what is there, copying it."""

import hashlib
import os
import secrets
import shutil
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import HFDistillError
from .contents import Blob
from .database import time_text
from .direct_files import sync
from .repositories import Repo
from .service import Hub
from .trees import EMPTY_TREE, FOLDER, pack, unpack


@dataclass
class Reachable:
    """What the refs of all repositories lead to."""

    commits: set[tuple[int, str]] = field(default_factory=set)
    trees: set[str] = field(default_factory=set)
    blobs: dict[str, int] = field(default_factory=dict)


def reachable(connection: sqlite3.Connection, problems: list[str] | None = None) -> Reachable:
    """Follows every ref through commits and trees to contents.

    Args:
        problems (`list[str]`, *optional*):
            Takes a sentence for each link that leads nowhere; without it such a link raises.
    """
    found = Reachable()
    rows = connection.execute("SELECT repo_id, oid FROM refs UNION SELECT id, head FROM repos").fetchall()
    waiting = [(row[0], row[1]) for row in rows]
    waiting += [
        (row[0], row[1])
        for row in connection.execute("SELECT repo_id, base_oid FROM discussions WHERE base_oid IS NOT NULL")
    ]
    trees: list[str] = []
    while waiting:
        key = waiting.pop()
        if key in found.commits:
            continue
        row = connection.execute("SELECT tree, parent, merged FROM commits WHERE repo_id = ? AND oid = ?", key)
        row = row.fetchone()
        if row is None:
            _report(problems, f"commit {key[1]} of repository {key[0]} is missing")
            continue
        found.commits.add(key)
        trees.append(row["tree"])
        waiting += [(key[0], oid) for oid in (row["parent"], row["merged"]) if oid]
    while trees:
        tree_id = trees.pop()
        if tree_id in found.trees:
            continue
        row = connection.execute("SELECT data FROM trees WHERE id = ?", (tree_id,)).fetchone()
        if row is None:
            _report(problems, f"tree {tree_id} is missing")
            continue
        found.trees.add(tree_id)
        for entry in unpack(row["data"]).values():
            if entry.kind == FOLDER:
                trees.append(entry.oid)
            else:
                found.blobs[entry.sha256] = entry.size
    return found


def _report(problems: list[str] | None, problem: str) -> None:
    if problems is None:
        raise HFDistillError(f"{problem}: run `hfdistill hub fsck`")
    problems.append(problem)


@dataclass
class Collected:
    """What [`collect`] removed."""

    commits: int = 0
    trees: int = 0
    blobs: int = 0
    bytes: int = 0


def collect(hub: Hub, grace: float) -> Collected:
    """Removes what no ref leads to any more.

    It may run beside a server: contents younger than `grace` stay, since a commit for them may be on its way, and
    files go inside of a write transaction, so that no commit can pick one up at that moment. Killed at any point it
    leaves a sound Hub.

    Args:
        grace (`float`):
            Seconds.
    """
    collected = Collected()
    oldest = time.time() - grace
    oldest_text = time_text(oldest)
    with hub.database.write() as write:
        live = reachable(write)
        for row in write.execute("SELECT repo_id, oid, created_at FROM commits").fetchall():
            if (row["repo_id"], row["oid"]) not in live.commits and row["created_at"] < oldest_text:
                write.execute("DELETE FROM commits WHERE repo_id = ? AND oid = ?", tuple(row)[:2])
                collected.commits += 1
        kept = _kept_trees(write, live.trees)
        for (tree_id,) in write.execute("SELECT id FROM trees").fetchall():
            if tree_id not in kept:
                write.execute("DELETE FROM trees WHERE id = ?", (tree_id,))
                collected.trees += 1
        used = _contents(write, kept)
        for row in write.execute("SELECT sha256, LENGTH(data) AS size FROM small_blobs").fetchall():
            if row["sha256"] not in used:
                write.execute("DELETE FROM small_blobs WHERE sha256 = ?", (row["sha256"],))
                collected.blobs += 1
                collected.bytes += row["size"]
        for row in write.execute("SELECT repo_id, sha256 FROM large_files").fetchall():
            if row["sha256"] not in used:
                write.execute("DELETE FROM large_files WHERE repo_id = ? AND sha256 = ?", tuple(row))
        write.execute("DELETE FROM uploads WHERE created_at < ?", (oldest_text,))
    with hub.database.write() as write:
        # Again, inside of the transaction that holds all commits back: contents may have been put to use since.
        used = _contents(write, {row[0] for row in write.execute("SELECT id FROM trees").fetchall()})
        for sha256, paths in _files_of_blobs(hub).items():
            statuses = [path.stat() for path in paths]
            if sha256 not in used and all(status.st_mtime < oldest for status in statuses):
                for path in paths:
                    path.unlink()
                collected.blobs += 1
                collected.bytes += sum(status.st_size for status in statuses if status.st_nlink == 1)
    collected.bytes += _collect_xorbs(hub, oldest)
    hub.git.remove(keep=[] if collected.commits else map(Repo.of, hub.database.rows("SELECT * FROM repos")))
    return collected


def _files_of_blobs(hub: Hub) -> dict[str, list[Path]]:
    """The files of each blob, the list of its parts before the parts: killed in between, no half blob is found."""
    files: dict[str, list[Path]] = {}
    for path in sorted(hub.blobs.folder.glob("*/*/*"), key=lambda path: path.suffix != ".parts"):
        files.setdefault(path.stem, []).append(path)
    return files


def _kept_trees(write: sqlite3.Connection, live: set[str]) -> set[str]:
    """Live trees and those of commits that are too young to go."""
    kept = set(live)
    waiting = [row[0] for row in write.execute("SELECT DISTINCT tree FROM commits").fetchall()]
    while waiting:
        tree_id = waiting.pop()
        if tree_id in kept:
            continue
        row = write.execute("SELECT data FROM trees WHERE id = ?", (tree_id,)).fetchone()
        if row is not None:
            kept.add(tree_id)
            waiting += [entry.oid for entry in unpack(row["data"]).values() if entry.kind == FOLDER]
    return kept | {EMPTY_TREE[0]}


def _contents(write: sqlite3.Connection, trees: set[str]) -> set[str]:
    used = set()
    for tree_id in trees:
        row = write.execute("SELECT data FROM trees WHERE id = ?", (tree_id,)).fetchone()
        if row is not None:
            used |= {entry.sha256 for entry in unpack(row["data"]).values() if entry.kind != FOLDER}
    return used


def _collect_xorbs(hub: Hub, oldest: float) -> int:
    """Ends the current Xet store where all of it is old; returns the bytes that the removal of ended ones freed.

    A store's xorbs cannot go one by one, because clients remember what they have sent to its address. The next one
    has another address.
    """
    current = hub.xorbs.folder / hub.xorbs.current
    times = [path.stat().st_mtime for path in current.glob("*/*")]
    if times and max(times) < oldest:
        hub.xorbs.begin()
    freed = 0
    for folder in hub.xorbs.folder.iterdir():
        files = [path.stat() for path in folder.glob("*/*")]
        if folder.name != hub.xorbs.current and all(status.st_mtime < oldest for status in files):
            freed += sum(status.st_size for status in files if status.st_nlink == 1)
            shutil.rmtree(folder)
    return freed


def check(hub: Hub, contents: bool = True) -> list[str]:
    """Checks everything that a Hub's folder holds.

    Args:
        contents (`bool`, *optional*, defaults to `True`):
            Whether to read and hash each content too.

    Returns:
        `list[str]`: one sentence a problem; empty where all is well.
    """
    problems: list[str] = []
    with hub.database.read() as connection:
        for row in connection.execute("PRAGMA integrity_check").fetchall():
            if row[0] != "ok":
                problems.append(f"database: {row[0]}")
        for row in connection.execute("PRAGMA foreign_key_check").fetchall():
            problems.append(f"database: a row of {row[0]} refers to a missing row of {row[2]}")
        for row in connection.execute(
            "SELECT repos.namespace, repos.name, head, refs.oid FROM repos LEFT JOIN refs ON refs.repo_id = repos.id "
            "AND refs.name = 'refs/heads/main' WHERE refs.oid IS NOT repos.head"
        ).fetchall():
            problems.append(f"{row['namespace']}/{row['name']}: main is {row['oid']}, the listing says {row['head']}")
        found = reachable(connection, problems)
        for tree_id in found.trees:
            data = connection.execute("SELECT data FROM trees WHERE id = ?", (tree_id,)).fetchone()[0]
            if pack(unpack(data))[0] != tree_id:
                problems.append(f"tree {tree_id} is damaged")
        for sha256, size in found.blobs.items():
            if problem := _check_blob(hub, sha256, size, contents):
                problems.append(problem)
    return problems


def _check_blob(hub: Hub, sha256: str, size: int, contents: bool) -> str | None:
    blob = hub.blobs.find(sha256)
    if blob is None:
        return f"content {sha256} is missing"
    if blob.size != size:
        return f"content {sha256} has {blob.size} bytes instead of {size}"
    if any(not part.path.exists() or part.path.stat().st_size < part.end for part in blob.parts):
        return f"a part of content {sha256} is missing"
    if contents and _hash(blob) != sha256:
        return f"content {sha256} is damaged"
    return None


def _hash(blob: Blob) -> str:
    digest = hashlib.sha256()
    for piece in blob.pieces():
        digest.update(piece)
    return digest.hexdigest()


def backup(hub: Hub, target: Path) -> int:
    """Copies a Hub's folder, also under a running server; returns the number of contents copied.

    The database is copied first, as of one moment; contents never change, so whatever it refers to can follow. A
    second backup to the same target copies what is new. Each content is one file there, and xorbs are left out.

    Raises:
        [`HFDistillError`]: The target is the Hub's own folder or holds something else.
    """
    target = target.expanduser().resolve()
    if target == hub.data_dir or hub.data_dir in target.parents:
        raise HFDistillError(f"the backup {target} would lie inside of the Hub's own folder {hub.data_dir}")
    if target.exists() and any(target.iterdir()) and not (target / "hub.sqlite").exists():
        raise HFDistillError(f"{target} is not empty and holds no earlier backup: name another folder")
    target.mkdir(parents=True, exist_ok=True)
    partial = target / "hub.sqlite.partial"
    partial.unlink(missing_ok=True)
    copy = sqlite3.connect(partial)
    try:
        hub.database.connection().backup(copy)
        copy.row_factory = sqlite3.Row
        # The copy knows nothing of the xorbs, so it must not be taken for the same store.
        copy.execute("UPDATE meta SET value = ? WHERE key = 'store'", (secrets.token_hex(8),))
        copy.commit()
        wanted = reachable(copy).blobs
    finally:
        copy.close()
    copied = 0
    folder = target / "blobs" / "sha256"
    for sha256 in wanted:
        blob, place = hub.blobs.find(sha256), folder / sha256[:2] / sha256[2:4] / sha256
        if place.exists() or blob is None or not blob.parts:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(".partial")
        with open(temporary, "wb") as file:
            file.writelines(blob.pieces())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(place)
        copied += 1
    for name in ("hub.sqlite-wal", "hub.sqlite-shm"):
        (target / name).unlink(missing_ok=True)
    partial.rename(target / "hub.sqlite")
    sync(target)
    return copied
