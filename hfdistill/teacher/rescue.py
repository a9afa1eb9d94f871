"""What was paid for when the disk was full: kept in a file beside the journal, which the next run takes in."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from .journal import DiskFull, Journal, Response


RESERVE = 4 << 20  # bytes that are held on the disk meanwhile, and given up for this


class Rescue:
    """Keeps responses that a journal has no room for.

    Args:
        journal ([`~hfdistill.teacher.journal.Journal`]): what was rescued earlier is taken into it.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if there is still no room for that.
    """

    def __init__(self, journal: Journal):
        self._file = Path(f"{journal.path}.rescued")
        self._reserve = Path(f"{journal.path}.reserve")
        if self._file.exists():
            journal.add(_read(self._file))
            self._file.unlink()
        with suppress(OSError), self._reserve.open("wb") as reserve:  # a disk with less room is nearly full
            os.posix_fallocate(reserve.fileno(), 0, RESERVE)

    def keep(self, responses: Sequence[Response]) -> None:
        """Write responses to the disk, in the room that was held for them.

        Raises:
            [`~hfdistill.teacher.journal.DiskFull`]: if that does not suffice.
        """
        self.close()
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(asdict(response))}\n" for response in responses)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DiskFull(f"{len(responses)} responses are lost: {self._file} cannot be written ({error})") from error

    def close(self) -> None:
        """Give up the room that was held."""
        self._reserve.unlink(missing_ok=True)


def _read(file: Path) -> list[Response]:
    responses = []
    for line in file.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):  # the last one, if the process was killed meanwhile
            responses.append(Response(**json.loads(line)))
    return responses
