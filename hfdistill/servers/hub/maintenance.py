"""Looking after a Hub's folder: collecting what nothing refers to, checking what is there, copying it."""

import os
import shutil
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import HFDistillError
from .database import time_text
from .direct_files import make_folders, sync
from .repositories import Repo
from .service import Hub
from .trees import EMPTY_TREE, FOLDER, pack, unpack
from .xorbs import is_sound


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
    with hub.database.write() as write:
        # Again, inside of the transaction that holds all commits back: contents may have been put to use since.
        used = _contents(write, {row[0] for row in write.execute("SELECT id FROM trees").fetchall()})
        wanted = set()
        for sha256, paths in _files_of_blobs(hub).items():
            statuses = [path.stat() for path in paths]
            if sha256 not in used and all(status.st_mtime < oldest for status in statuses):
                for path in paths:
                    path.unlink()
                collected.blobs += 1
                collected.bytes += sum(status.st_size for status in statuses if status.st_nlink == 1)
            elif max(status.st_mtime for status in statuses) >= oldest:
                wanted.add(sha256)
        # Who sent a content may commit it, for as long as it may wait for that.
        rows = write.execute("SELECT sha256, user FROM uploads WHERE created_at < ?", (oldest_text,)).fetchall()
        unwanted = [tuple(row) for row in rows if row["sha256"] not in wanted]
        write.executemany("DELETE FROM uploads WHERE sha256 = ? AND user = ?", unwanted)
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
    """Removes the Xet stores of which all is old; returns the bytes that this freed.

    A store's xorbs cannot go one by one, because clients remember what they have sent to its address. Its user's next
    one has another address.
    """

    def is_old(folder: Path) -> bool:
        return all(path.stat().st_mtime < oldest for path in folder.glob("*/*"))

    for store in hub.xorbs.current_stores():
        folder = hub.xorbs.folder / store
        if any(folder.glob("*/*")) and is_old(folder):
            hub.xorbs.end(store)
    freed = 0
    for folder in list(hub.xorbs.folder.iterdir()):
        # No xorb is kept, and no store begins, meanwhile.
        with hub.database.write():
            if folder.name in hub.xorbs.current_stores() or not is_old(folder):
                continue
            gone = folder.rename(folder.with_suffix(".gone"))
        freed += sum(path.stat().st_size for path in gone.glob("*/*") if path.stat().st_nlink == 1)
        shutil.rmtree(gone)
    return freed


def check(hub: Hub, contents: bool = True) -> list[str]:
    """Checks everything that a Hub's folder holds.

    Args:
        contents (`bool`, *optional*, defaults to `True`):
            Whether to read and hash each content and xorb too.

    Returns:
        `list[str]`: one sentence a problem; empty where all is well.
    """
    problems: list[str] = []
    with hub.database.read() as connection:
        found = _check_database(connection, problems)
    for sha256, size in found.blobs.items():
        if problem := hub.blobs.damage(sha256, size, contents):
            problems.append(problem + _where(hub, sha256))
    for sha256, paths in sorted(_files_of_blobs(hub).items()):
        if misplaced := [path for path in paths if path.parent != hub.blobs.path(sha256).parent]:
            problems += [f"{path.relative_to(hub.data_dir)} is no content's place" for path in misplaced]
        elif sha256 not in found.blobs and _is_whole(paths) and (problem := hub.blobs.damage(sha256, read=contents)):
            problems.append(problem)
    for store in sorted(hub.xorbs.current_stores()) if contents else ():
        damaged = [path.name for path in sorted((hub.xorbs.folder / store).glob("*/*")) if not is_sound(path)]
        problems += [f"xorb {name} of store {store} is damaged" for name in damaged]
    return problems


def leftovers(hub: Hub) -> list[str]:
    """What belongs to nothing, such as what a killed process left: no harm, and [`collect`] removes it once it is old.

    Returns:
        `list[str]`: one sentence each.
    """
    files = _files_of_blobs(hub)
    with hub.database.read() as connection:
        committed = reachable(connection, []).blobs
        sent = {row["sha256"] for row in connection.execute("SELECT sha256 FROM uploads").fetchall()}
    lost = [f"content {sha256} was sent, and is not there" for sha256 in sorted(sent - files.keys())]
    unknown = sorted(files.keys() - committed.keys() - sent)
    return lost + [
        f"content {sha256} was sent by nobody and is in no commit"
        if _is_whole(files[sha256])
        else f"content {sha256} has parts, and no list of them"
        for sha256 in unknown
    ]


def _is_whole(paths: list[Path]) -> bool:
    return any(path.suffix in ("", ".parts") for path in paths)


def _where(hub: Hub, sha256: str) -> str:
    row = hub.database.row(
        "SELECT namespace, name, path FROM large_files JOIN repos ON repos.id = repo_id WHERE sha256 = ?", sha256
    )
    return f" ({row['path']} of {row['namespace']}/{row['name']})" if row else ""


def _check_database(connection: sqlite3.Connection, problems: list[str]) -> Reachable:
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
    return found


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
    make_folders(target)
    target.chmod(0o700)
    partial = target / "hub.sqlite.partial"
    partial.unlink(missing_ok=True)
    partial.touch(0o600)
    copy = sqlite3.connect(partial)
    try:
        hub.database.connection().backup(copy)
        copy.row_factory = sqlite3.Row
        wanted = reachable(copy).blobs
    finally:
        copy.close()
    copied = 0
    folder = target / "blobs" / "sha256"
    for sha256 in wanted:
        blob, place = hub.blobs.find(sha256), folder / sha256[:2] / sha256[2:4] / sha256
        if place.exists() or blob is None or not blob.parts:
            continue
        make_folders(place.parent)
        temporary = place.with_suffix(".partial")
        with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
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
