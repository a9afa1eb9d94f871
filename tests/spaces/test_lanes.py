import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.space.allowance import Allowance
from hfdistill.space.lanes import LONGEST_QUEUE, Stopped, Turns, in_thread


@given(
    at_once=st.integers(1, 3),
    plan=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4) | st.none()), min_size=1, max_size=12),
)
def test_turns_come_in_order_and_a_lane_is_free_in_the_end(at_once, plan):
    """Each has so many ticks of work, and may leave after so many ticks, whatever it is doing then."""

    async def play():
        turns, began, most = Turns(at_once), [], 0

        async def one(number, ticks):
            nonlocal most
            async with turns.turn(lambda before: None):
                began.append(number)
                most = max(most, turns.busy)
                for _ in range(ticks):
                    await asyncio.sleep(0)

        tasks = [asyncio.create_task(one(number, ticks)) for number, (ticks, _) in enumerate(plan)]
        for tick in range(6):
            for task, (_, leaves) in zip(tasks, plan, strict=True):
                if leaves == tick:
                    task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert began == sorted(began)
        assert most <= at_once
        assert {number for number, (_, leaves) in enumerate(plan) if leaves is None} <= set(began)
        assert (turns.busy, turns.waiting) == (0, {})

    asyncio.run(play())


def test_who_waits_knows_the_place_and_too_many_are_sent_away():
    async def play():
        turns, places, release = Turns(), [], asyncio.Event()

        async def hold(place):
            async with turns.turn(place):
                await release.wait()

        tasks = [asyncio.create_task(hold(lambda before: None)) for _ in range(LONGEST_QUEUE)]
        tasks.append(asyncio.create_task(hold(places.append)))
        await asyncio.sleep(0)
        with pytest.raises(HFDistillError, match="64 questions wait here already. Try again in a minute"):
            async with turns.turn(places.append):
                pass
        tasks[5].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert places[0] == LONGEST_QUEUE
        assert places == sorted(places, reverse=True)
        assert places[-1] == 1

    asyncio.run(play())


def test_work_in_a_thread_ends_before_the_wait_does():
    ended = threading.Event()

    def work(stop):
        stop.wait(20)
        ended.set()
        raise Stopped

    async def play():
        task = asyncio.create_task(in_thread(work))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(play())


def test_a_visitor_may_ask_so_often():
    now = 0.0
    allowance = Allowance(most=3, clock=lambda: now)
    for _ in range(3):
        allowance.take("one")
    with pytest.raises(HFDistillError, match="3 questions within a minute"):
        allowance.take("one")
    allowance.take("another")
    now = 20.0
    allowance.take("one")
    with pytest.raises(HFDistillError):
        allowance.take("one")
