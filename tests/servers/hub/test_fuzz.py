"""Bodies that are almost right, by the thousand: no internal error, no traceback, nothing that stays behind."""

import os
import time

import pytest

from .fuzzing import Fuzzer


# Megabytes of the server, and of a process that reads for it: its bound on a job, and what it takes to begin.
SERVER, READER = 200, 250
# Seconds of the long run; an hour was run once.
LONG = float(os.environ.get("HFDISTILL_FUZZ_SECONDS", 60))


def settled(fuzzer: Fuzzer) -> None:
    """Nothing was found, and the server is at rest as it was before."""
    assert fuzzer.found == [], fuzzer.statuses
    left = fuzzer.left()
    print(fuzzer.statuses, left)
    assert left["server"] < SERVER and left["readers"] < READER, left
    assert left["processes"] <= 4 and left["threads"] <= 16 and left["files"] <= 16 and not left["temporary"], left


def test_bodies_that_are_almost_right(hub) -> None:
    fuzzer = Fuzzer(hub, 0)
    for number in range(400):
        fuzzer.run(number)
    settled(fuzzer)


@pytest.mark.slow
@pytest.mark.timeout(LONG + 300)
def test_bodies_that_are_almost_right_at_length(start_hub) -> None:
    fuzzer = Fuzzer(start_hub(), 1)
    end, number = time.monotonic() + LONG, 0
    while time.monotonic() < end:
        fuzzer.run(number)
        number += 1
    settled(fuzzer)
