"""Shares of what there is little of."""

import threading

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
    assert not places._shares, "callers who are gone take no memory"
