"""The Hub's SQLite database: schema, one connection a thread, one writer at a time."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet


SCHEMA_VERSION = "1"

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'org')),
    created_at TEXT NOT NULL);
CREATE TABLE members (
    org_id INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('read', 'write', 'admin')),
    PRIMARY KEY (org_id, user_id)) WITHOUT ROWID;
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('read', 'write', 'admin')),
    created_at TEXT NOT NULL,
    UNIQUE (user_id, name));

CREATE TABLE repos (
    id INTEGER PRIMARY KEY,
    type TEXT NOT NULL CHECK (type IN ('model', 'dataset', 'space')),
    namespace TEXT NOT NULL COLLATE NOCASE,
    name TEXT NOT NULL COLLATE NOCASE,
    private INTEGER NOT NULL DEFAULT 0,
    gated TEXT,
    disabled INTEGER NOT NULL DEFAULT 0,
    sdk TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    head TEXT NOT NULL,
    card TEXT NOT NULL DEFAULT '{}',
    details TEXT NOT NULL DEFAULT '{}',
    UNIQUE (type, namespace, name));
CREATE INDEX repos_by_update ON repos (type, updated_at, id);
CREATE INDEX repos_by_creation ON repos (type, created_at, id);
CREATE INDEX repos_by_author ON repos (type, namespace, updated_at, id);
CREATE TABLE redirects (
    type TEXT NOT NULL,
    namespace TEXT NOT NULL COLLATE NOCASE,
    name TEXT NOT NULL COLLATE NOCASE,
    repo_id INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
    PRIMARY KEY (type, namespace, name)) WITHOUT ROWID;
CREATE TABLE tags (
    tag TEXT NOT NULL,
    repo_id INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
    PRIMARY KEY (tag, repo_id)) WITHOUT ROWID;
CREATE INDEX tags_by_repo ON tags (repo_id);
CREATE TABLE access (
    id INTEGER PRIMARY KEY,
    repo_id INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    status TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')),
    created_at TEXT NOT NULL,
    UNIQUE (repo_id, user_id));

CREATE TABLE refs (
    repo_id INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
    name TEXT NOT NULL,
    oid TEXT NOT NULL,
    PRIMARY KEY (repo_id, name)) WITHOUT ROWID;
CREATE TABLE commits (
    repo_id INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
    oid TEXT NOT NULL,
    tree TEXT NOT NULL,
    parent TEXT,
    merged TEXT,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (repo_id, oid)) WITHOUT ROWID;
CREATE TABLE trees (id TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE small_blobs (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE large_files (
    repo_id INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    path TEXT NOT NULL,
    ref TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (repo_id, sha256)) WITHOUT ROWID;
CREATE INDEX large_files_by_content ON large_files (sha256);
CREATE TABLE uploads (
    sha256 TEXT NOT NULL,
    user TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (sha256, user)) WITHOUT ROWID;

CREATE TABLE discussions (
    repo_id INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE,
    num INTEGER NOT NULL,
    title TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'closed', 'merged', 'draft')),
    author TEXT NOT NULL,
    created_at TEXT NOT NULL,
    base TEXT,
    base_oid TEXT,
    merge_oid TEXT,
    PRIMARY KEY (repo_id, num)) WITHOUT ROWID;
CREATE TABLE events (
    id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    repo_id INTEGER NOT NULL,
    num INTEGER NOT NULL,
    type TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at TEXT NOT NULL,
    data TEXT NOT NULL,
    FOREIGN KEY (repo_id, num) REFERENCES discussions ON DELETE CASCADE);
CREATE INDEX events_by_discussion ON events (repo_id, num, seq);

CREATE TABLE collections (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL COLLATE NOCASE,
    title TEXT NOT NULL,
    description TEXT,
    private INTEGER NOT NULL,
    theme TEXT NOT NULL,
    position INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL);
CREATE INDEX collections_by_owner ON collections (namespace, position);
CREATE TABLE collection_items (
    id TEXT PRIMARY KEY,
    collection_id TEXT NOT NULL REFERENCES collections ON DELETE CASCADE,
    type TEXT NOT NULL,
    item TEXT NOT NULL COLLATE NOCASE,
    note TEXT,
    position INTEGER NOT NULL,
    UNIQUE (collection_id, type, item));
"""


# Earlier versions had none.
TAG_MESSAGES = """CREATE TABLE IF NOT EXISTS tag_messages (
    repo_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    message TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (repo_id, name),
    FOREIGN KEY (repo_id, name) REFERENCES refs ON DELETE CASCADE) WITHOUT ROWID"""


def time_text(moment: float) -> str:
    """A time in the form that clients parse, to the millisecond, which also sorts as text."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def now() -> str:
    return time_text(time.time())


def new_id() -> str:
    """A fresh 24-digit hexadecimal id, the shape of the real Hub's."""
    return secrets.token_hex(12)


def new_oid() -> str:
    """A fresh 40-digit commit id, for a commit whose name in git is not known."""
    return secrets.token_hex(20)


class _Held:
    """A thread's connection, closed with the thread: those of a server come and go, and each has two files open.

    A connection alone would wait for the garbage collector, since its statements know it.
    """

    def __init__(self, connection: sqlite3.Connection):
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """SQLite in WAL mode, one connection a thread.

    Args:
        path (`Path`):
            The database file; made with its schema if it does not exist.
    """

    def __init__(self, path: Path):
        self.path = path
        self._local = threading.local()
        self._write_lock = threading.Lock()
        self._connections: WeakSet[_Held] = WeakSet()
        self._connections_lock = threading.Lock()
        # SQLite gives the files beside it the same mode.
        path.touch(0o600)
        self._create()

    def connection(self) -> sqlite3.Connection:
        try:
            return self._local.held.connection
        except AttributeError:
            pass
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        # An acknowledged commit survives a power cut; small page caches, since there is one a thread.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -1024")
        with self._connections_lock:
            self._local.held = _Held(connection)
            self._connections.add(self._local.held)
        return connection

    def _create(self) -> None:
        connection = self.connection()
        connection.execute("PRAGMA journal_mode = WAL")
        with self.write() as write:
            if write.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                version = self.meta("schema")
                if version != SCHEMA_VERSION:
                    raise RuntimeError(f"{self.path} has schema {version}, this hfdistill reads {SCHEMA_VERSION}")
                if "disabled" not in [row["name"] for row in write.execute("PRAGMA table_info(repos)")]:
                    # A folder of an earlier version, in which no repository could be disabled.
                    write.execute("ALTER TABLE repos ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0")
                write.execute(TAG_MESSAGES)
                return
            for statement in (*SCHEMA.split(";\n"), TAG_MESSAGES):
                if statement.strip():
                    write.execute(statement)
            values = {"schema": SCHEMA_VERSION, "secret": secrets.token_hex(32)}
            write.executemany("INSERT INTO meta VALUES (?, ?)", values.items())

    def rows(self, sql: str, *values) -> list[sqlite3.Row]:
        return self.connection().execute(sql, values).fetchall()

    def row(self, sql: str, *values) -> sqlite3.Row | None:
        return self.connection().execute(sql, values).fetchone()

    def meta(self, key: str) -> str | None:
        row = self.row("SELECT value FROM meta WHERE key = ?", key)
        return row["value"] if row else None

    def set_meta(self, key: str, value: str) -> None:
        with self.write() as write:
            write.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Several statements on one consistent state."""
        connection = self.connection()
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it or nothing, alone among threads and processes."""
        connection = self.connection()
        with self._write_lock:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended it already, or leave it open although it cannot be committed.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._connections_lock:
            for held in list(self._connections):
                held.connection.close()
            self._connections.clear()
