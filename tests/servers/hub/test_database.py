"""The database under threads that come and go."""

import os
import threading
from pathlib import Path

from hfdistill.servers.hub.database import Database


def opened(path: Path) -> int:
    """How many times this process has a file open."""
    links = Path("/proc/self/fd").iterdir()
    return sum(link.exists() and os.readlink(link) == str(path) for link in links)


def test_a_thread_that_ends_closes_its_connection(tmp_path) -> None:
    database = Database(tmp_path / "hub.sqlite")
    for _ in range(20):
        thread = threading.Thread(target=database.meta, args=("schema",))
        thread.start()
        thread.join()
    # SQLite keeps a file that it may not close yet for the next connection.
    assert opened(database.path) <= 3
    database.close()
    assert opened(database.path) == 0
