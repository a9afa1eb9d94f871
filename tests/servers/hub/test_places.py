"""Shares of what there is little of."""

import threading
from collections import Counter

import anyio

from hfdistill.servers.hub.places import Places


def test_nobody_keeps_all_places() -> None:
    places = Places(3, 2)
    held: list[str] = []
    go = threading.Event()

    def hold(caller: str) -> None:
        held.append(caller)
        go.wait(60)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(places.in_thread, "mallory", hold, "mallory")
            while len(held) < 2:
                await anyio.sleep(0.01)
            async with places.one("ada"):
                assert held == ["mallory"] * 2
            go.set()
        assert held == ["mallory"] * 5

    anyio.run(main)
    assert not places._taken, "callers who are gone take no memory"


def test_a_few_callers_leave_half_of_the_places_to_others() -> None:
    places = Places(8, 4)
    held: Counter[str] = Counter()
    leave = anyio.Event()

    async def hold(caller: str) -> None:
        async with places.one(caller):
            held[caller] += 1
            await leave.wait()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for caller in ("a", "b", "c"):
                for _ in range(4):
                    group.start_soon(hold, caller)
            await anyio.wait_all_tasks_blocked()
            assert held == {"a": 4, "b": 2, "c": 1}
            group.start_soon(hold, "ada")
            await anyio.wait_all_tasks_blocked()
            assert held["ada"] == 1
            leave.set()
        assert held == {"a": 4, "b": 4, "c": 4, "ada": 1}

    anyio.run(main)
