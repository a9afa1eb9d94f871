"""Cards, tables and comments of strangers, read in processes that a bad one may end without harm."""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict
from multiprocessing import Pipe

from .errors import HubError
from .reading import LAST


# Seconds of the clock after which a job is given up that its bound on CPU time did not end.
DEADLINE = 20.0
# Seconds that a caller waits for its turn.
PATIENCE = 10.0
MAX_ANSWER = 4 * 1024**2
# Bytes of answers that are kept.
KEPT = 8 * 1024**2
TOO_MUCH = "it takes too long or too much memory"


class ReadingError(ValueError):
    """What was to be read cannot be; the message says why, as half a sentence."""


class Readers:
    """A few processes, started when they are needed, that read for all; answers are kept by the content's hash.

    A user has one job at a time, so that nobody can take all of them.

    Args:
        processes (`int`):
            How many at most.
    """

    def __init__(self, processes: int):
        self._free = processes
        self._busy: set[str] = set()
        self._idle: list[_Process] = []
        self._turn = threading.Condition()
        self._kept: OrderedDict[tuple, bytes] = OrderedDict()
        self._kept_bytes = 0

    def read(self, user: str, job: str, *arguments: object, key: str | None = None) -> object:
        """What a job of [`~reading`] makes of its arguments.

        Args:
            user (`str`):
                Who asks for it.
            job (`str`):
                The job's name.
            key (`str`, *optional*):
                Together with the job, what the answer is kept under.

        Raises:
            [`ReadingError`]: The arguments are not what the job reads, or reading them takes too much.
            [`HubError`]: 503, too many other jobs are waiting.
        """
        answer = self._kept.get((job, key))
        if answer is None:
            process = self._take(user)
            try:
                answer = process.read(job, arguments)
            finally:
                self._give_back(user, process)
            if key is not None:
                self._keep((job, key), answer)
        found = json.loads(answer)
        if "error" in found:
            raise ReadingError(found["error"])
        return found["value"]

    def close(self) -> None:
        with self._turn:
            for process in self._idle:
                process.end()
            self._idle.clear()

    def _take(self, user: str) -> "_Process":
        with self._turn:
            if not self._turn.wait_for(lambda: self._free and user not in self._busy, PATIENCE):
                raise HubError(503, "This Hub is busy reading what others sent: try again in a few seconds.")
            self._free -= 1
            self._busy.add(user)
            return self._idle.pop() if self._idle else _Process()

    def _give_back(self, user: str, process: "_Process") -> None:
        with self._turn:
            self._free += 1
            self._busy.discard(user)
            if process.alive:
                self._idle.append(process)
            self._turn.notify_all()

    def _keep(self, key: tuple, answer: bytes) -> None:
        with self._turn:
            self._kept_bytes += len(answer) - len(self._kept.pop(key, b""))
            self._kept[key] = answer
            while self._kept_bytes > KEPT:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])


class _Process:
    """One process of [`~reading`], started with the first job."""

    def __init__(self) -> None:
        self.alive = True
        self._process: subprocess.Popen | None = None

    def _start(self) -> None:
        self._connection, other = Pipe()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.reading", str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # No token of whoever runs the Hub, and no Ctrl-C of theirs.
                env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def read(self, job: str, arguments: tuple) -> bytes:
        """The job's answer; the process has ended with one that goes over a bound."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        try:
            self._connection.send_bytes(pickle.dumps((job, arguments)))
            if self._connection.poll(DEADLINE):
                answer = self._connection.recv_bytes(MAX_ANSWER)
                if answer[:1] == LAST:
                    self.end()
                return answer[1:]
        except (EOFError, OSError):
            pass
        self.end()
        return json.dumps({"error": TOO_MUCH}).encode()

    def end(self) -> None:
        self.alive = False
        if self._process is not None:
            self._connection.close()
            self._process.kill()
            self._process.wait()
