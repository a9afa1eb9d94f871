"""Start a server of ours as a process of its own, and wait until it answers."""

import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from ..errors import HFDistillError
from .recorded import end_gently


POLL_SECONDS = 0.1
END_SECONDS = 20.0


class ServerProcess:
    """A `hfdistill` server verb, running on this machine until the context ends.

    Args:
        arguments (`Sequence[str]`): the verb and its options, for example `["hub", "serve", "--port", "8080"]`.
        url (`str`): its base URL.
        health (`str`): path that answers 200 once it serves.
        log (`Path`): file for its output.
        environment (`Mapping[str, str]`, *optional*): further variables.
        timeout (`float`, *optional*, defaults to 120): seconds that the start may take.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        url: str,
        health: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        timeout: float = 120.0,
    ):
        self.arguments, self.url, self.health, self.log = list(arguments), url, health, log
        self.environment, self.timeout = dict(environment or {}), timeout
        self.process: subprocess.Popen | None = None

    @property
    def pid(self) -> int:
        """Number of the running process."""
        return self.process.pid

    def __enter__(self) -> "ServerProcess":
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hfdistill", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, *error) -> None:
        if self.process.poll() is None:
            end_gently([psutil.Process(self.process.pid)], END_SECONDS)
            self.process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            check_running(self.process, f"`hfdistill {' '.join(self.arguments)}`", self.log)
            if answers(self.url + self.health):
                return
            time.sleep(POLL_SECONDS)
        raise HFDistillError(f"{self.url}{self.health} did not answer within {self.timeout:.0f} s; see {self.log}")


def check_running(process: subprocess.Popen, name: str, log: Path) -> None:
    """Raises: [`~hfdistill.errors.HFDistillError`]: if a process has ended, with its last words."""
    if process.poll() is not None:
        end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        raise HFDistillError(
            f"{name} ended with status {process.returncode}. The end of {log}:\n  " + "\n  ".join(end)
        )


def answers(url: str) -> bool:
    """Whether a GET of this address succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (OSError, http.client.HTTPException):
        return False


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
