"""The journal of a sampling run: what was answered is on disk before it counts, and survives kill -9."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import HFDistillError


DONE, FAILED, PARKED = "done", "failed", "parked"


@dataclass(slots=True)
class Response:
    """One response, or why there is none. The key is `(question_id, temperature, sample)`.

    Attributes:
        question_id (`str`), temperature (`float`), sample (`int`): the key.
        text (`str`, *optional*): the response; `None` unless `status` is `"done"`.
        finish_reason (`str`, *optional*): `"eos_token"`, `"stop_sequence"`, `"length"`, or `"stop"` from servers that
            do not tell the first two apart.
        prompt_tokens (`int`, *optional*), completion_tokens (`int`, *optional*): as counted by the server.
        seed (`int`, *optional*): `None` where nothing was drawn.
        status (`str`): `"done"`, `"failed"` (refused for good) or `"parked"` (every try went wrong).
        reason (`str`, *optional*): why it failed or was parked.
        source (`str`, *optional*): where it was made: an endpoint's URL, or a model's path.
        engine (`str`, *optional*): what made it, with its version.
        token_ids (`str`, *optional*): its ids as a JSON list, where it was sampled here, end token included.
        thought (`str`, *optional*): what the server gave apart from the text.
        model (`str`, *optional*): who answered, where that was another model than the run's.
        counted_by (`str`, *optional*): what counted the tokens, where the server did not; `"bytes"` is a bound.
    """

    question_id: str
    temperature: float
    sample: int
    text: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seed: int | None = None
    status: str = DONE
    reason: str | None = None
    source: str | None = None
    engine: str | None = None
    token_ids: str | None = None
    thought: str | None = None
    model: str | None = None
    counted_by: str | None = None


LOOKED = 1.0  # seconds between two looks at whether another process is done
COLUMNS = [f.name for f in fields(Response)]
ADDED = ("token_ids", "thought", "model", "counted_by")  # which journals of earlier versions lack
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS samples (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    question_id TEXT NOT NULL, temperature REAL NOT NULL, sample INTEGER NOT NULL,
    text TEXT, finish_reason TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, seed INTEGER,
    status TEXT NOT NULL CHECK (status IN ('{DONE}', '{FAILED}', '{PARKED}')),
    reason TEXT, source TEXT, engine TEXT, token_ids TEXT, thought TEXT, model TEXT, counted_by TEXT,
    UNIQUE (question_id, temperature, sample)
);
CREATE TABLE IF NOT EXISTS apart (
    position INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, response TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_INSERT = (
    f"INSERT INTO samples ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    "ON CONFLICT (question_id, temperature, sample) DO NOTHING"
)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM samples"


class DiskFull(HFDistillError):
    """There is no room for what is to be kept."""


class Journal:
    """Responses of one run in one SQLite file, each key at most once.

    [`~Journal.add`] returns when its rows are on disk. Methods may be called from several threads of one process;
    a second process that opens the same journal is refused, or waits, since both would ask for the same responses.

    Args:
        path (`str` or `Path`): the file; created with its folder.
        fingerprint (`dict`, *optional*): what decides the responses: model, prompts, sampling parameters. A journal
            that was made with another one is refused. Without it, call [`~Journal.claim`] before adding anything.
        wait (`bool`, *optional*, defaults to `False`): wait for another process that has the journal open.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if another process has the journal open, or it was made with another
            fingerprint; the message names every difference.
    """

    def __init__(self, path: str | Path, fingerprint: dict[str, Any] | None = None, wait: bool = False):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        try:
            self._alone = self._lock(wait)
            self._write = self._connect()
            self._write.executescript(_SCHEMA)
            there = [column[1] for column in self._write.execute("PRAGMA table_info(samples)")]
            for name in ADDED:
                if name not in there:
                    self._write.execute(f"ALTER TABLE samples ADD COLUMN {name} TEXT")
            self._read = self._connect()
            if fingerprint is not None:
                self.claim(fingerprint)
        except sqlite3.OperationalError as error:
            raise HFDistillError(
                f"journal {self.path} cannot be opened ({error}): make room on its disk, or see who may write there"
            ) from error
        except sqlite3.DatabaseError as error:
            raise HFDistillError(
                f"journal {self.path} cannot be read ({error}): move it away to start anew"
            ) from error

    def _lock(self, wait: bool) -> sqlite3.Connection:
        """Hold an exclusive lock until this process ends, however it ends."""
        lock = sqlite3.connect(f"{self.path}.lock", timeout=0, isolation_level=None, check_same_thread=False)
        told = False
        while True:
            try:
                lock.execute("BEGIN EXCLUSIVE")
                return lock
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                if not wait:
                    raise HFDistillError(
                        f"another process is sampling into {self.path}: wait for it, or give this run another "
                        "output_dir"
                    ) from error
            if not told:
                print(f"waiting for the process that is sampling into {self.path}", flush=True)
                told = True
            time.sleep(LOOKED)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def claim(self, fingerprint: dict[str, Any]) -> None:
        """Make sure that what is added belongs with what is there; see the class."""
        wanted = json.loads(json.dumps(fingerprint))
        found = self.note("fingerprint")
        if found is None:
            self.set_note("fingerprint", wanted)
            return
        differences = [
            f"{name} was {found.get(name)!r} and is {wanted.get(name)!r}"
            for name in sorted({*found, *wanted})
            if found.get(name) != wanted.get(name)
        ]
        if differences:
            self.close()
            raise HFDistillError(
                f"journal {self.path} holds responses made otherwise: {'; '.join(differences)}. "
                "Go back to the earlier setting, or give this run another name or output_dir"
            )

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._write.close()
        self._read.close()
        self._alone.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def add(self, samples: Iterable[Response]) -> None:
        """Write rows in one transaction; a key that is there already keeps its first row.

        Raises:
            [`DiskFull`]: if the disk has no room for them.
        """
        rows = [astuple(sample) for sample in samples]
        with self._writing, self._full_disk_told(), self._write:  # which commits, or rolls back
            self._write.execute("BEGIN IMMEDIATE")
            self._write.executemany(_INSERT, rows)

    @contextmanager
    def _full_disk_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise DiskFull(
                f"journal {self.path} cannot be written ({error}): make room on its disk, and the same command goes on"
            ) from error

    def keys(self, question_id: str) -> dict[tuple[float, int], str]:
        """`(temperature, sample)` of every row of a question, with its status."""
        rows = self._all("SELECT temperature, sample, status FROM samples WHERE question_id = ?", question_id)
        return {(temperature, sample): status for temperature, sample, status in rows}

    def of(self, question_id: str) -> list[Response]:
        """The finished responses to a question, sorted by temperature and sample."""
        rows = self._all(
            f"{_SELECT} WHERE question_id = ? AND status = '{DONE}' ORDER BY temperature, sample", question_id
        )
        return [Response(*row) for row in rows]

    def rows(self) -> list[Response]:
        """Every row, sorted by key: the order of arrival leaves no trace."""
        return [Response(*row) for row in self._all(f"{_SELECT} ORDER BY question_id, temperature, sample")]

    def rows_after(self, position: int, limit: int) -> tuple[list[Response], int]:
        """The next finished rows in the order of arrival, and the position after them."""
        page = self._all(
            f"SELECT position, {', '.join(COLUMNS)} FROM samples WHERE position > ? AND status = '{DONE}' "
            "ORDER BY position LIMIT ?",
            position,
            limit,
        )
        return [Response(*row[1:]) for row in page], page[-1][0] if page else position

    def counts(self) -> dict[tuple[float, str], int]:
        """Number of rows by temperature and status."""
        rows = self._all("SELECT temperature, status, COUNT(*) FROM samples GROUP BY 1, 2")
        return {(temperature, status): count for temperature, status, count in rows}

    def tokens(self) -> tuple[int, int]:
        """Prompt tokens and generated tokens of all rows, those set apart included."""
        apart = "json_extract(response, '$.prompt_tokens'), json_extract(response, '$.completion_tokens')"
        return self._all(
            "SELECT TOTAL(prompt_tokens), TOTAL(completion_tokens) FROM (SELECT prompt_tokens, completion_tokens "
            f"FROM samples UNION ALL SELECT {apart} FROM apart)"
        )[0]

    def reasons(self) -> list[tuple[str, int]]:
        """The three most frequent reasons of rows without a response."""
        return self._all(
            f"SELECT reason, COUNT(*) FROM samples WHERE status != '{DONE}' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3"
        )

    def retry_failed(self) -> int:
        """Forget every row without a response, so that it is asked for again; returns how many there were."""
        with self._writing:
            return self._write.execute(f"DELETE FROM samples WHERE status != '{DONE}'").rowcount

    def position(self) -> int:
        """Position after the newest row, for [`~Journal.discard`]."""
        return self._all("SELECT COALESCE(MAX(position), 0) FROM samples")[0][0]

    def set_apart(self, responses: Iterable[Response]) -> None:
        """Keep what another model answered, named in each, beside the rows: its keys are still to be asked for."""
        rows = [(response.model, json.dumps(asdict(response))) for response in responses]
        with self._writing, self._full_disk_told(), self._write:
            self._write.execute("BEGIN IMMEDIATE")
            self._write.executemany("INSERT INTO apart (model, response) VALUES (?, ?)", rows)

    def set_apart_after(self, position: int, source: str, model: str) -> int:
        """Set apart what came from a source after a position, as answered by a model; returns how many rows."""
        where = f"source = ? AND position > ? AND status = '{DONE}'"
        moved = [Response(*row) for row in self._all(f"{_SELECT} WHERE {where}", source, position)]
        self.set_apart(replace(response, model=model) for response in moved)
        with self._writing:
            self._write.execute(f"DELETE FROM samples WHERE {where}", (source, position))
        return len(moved)

    def apart(self) -> dict[str, int]:
        """How many responses are set apart, by the model that answered."""
        return dict(self._all("SELECT model, COUNT(*) FROM apart GROUP BY 1 ORDER BY 2 DESC, 1"))

    def engines(self) -> dict[str, int]:
        """How many responses each engine gave, with its version and its system's fingerprint where they are told."""
        return dict(
            self._all(f"SELECT engine, COUNT(*) FROM samples WHERE status = '{DONE}' GROUP BY 1 ORDER BY 2 DESC, 1")
        )

    def take_back(self, model: str) -> int:
        """Make rows of what a model answered that was set apart; returns how many there were."""
        found = self._all("SELECT response FROM apart WHERE model = ? ORDER BY position", model)
        responses = [Response(**json.loads(row[0])) for row in found]
        with self._writing:  # a key that was given up is answered after all
            for response in responses:
                self._write.execute(
                    "DELETE FROM samples WHERE question_id = ? AND temperature = ? AND sample = ? "
                    f"AND status != '{DONE}'",
                    (response.question_id, response.temperature, response.sample),
                )
        self.add(responses)
        with self._writing:
            self._write.execute("DELETE FROM apart WHERE model = ?", (model,))
        return len(responses)

    def opens_thoughts(self) -> bool:
        """Whether a row closes a thought that nothing opened: the teacher's chat template opens one in the prompt."""
        closing = "instr(text, '</think>')"
        return bool(
            self._all(
                f"SELECT EXISTS (SELECT 1 FROM samples WHERE status = '{DONE}' AND {closing} > 0 "
                f"AND instr(substr(text, 1, {closing}), '<think>') = 0)"
            )[0][0]
        )

    def note(self, key: str) -> Any:
        """A value kept beside the rows, or `None`."""
        rows = self._all("SELECT value FROM meta WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def set_note(self, key: str, value: Any) -> None:
        """Keep a value (anything JSON holds) beside the rows."""
        with self._writing, self._full_disk_told():
            self._write.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def _all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._reading:
            return self._read.execute(statement, values).fetchall()
