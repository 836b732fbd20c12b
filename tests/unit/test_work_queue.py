"""Bounded work, and standing aside while a request only waits for something of its own."""

import asyncio
import time
from contextlib import suppress

from service.flow_control.work_queue import WorkQueue, WorkQueueSettings
from tests.support.loop_watch import slowness, watched_loop


class Work:
    """Items that stand aside until let through; ``a``-items do, others are done at once."""

    def __init__(self, concurrency: int, waiting: int, waiting_bytes: int = 1000) -> None:
        self.queue = WorkQueue[str](
            self.work, WorkQueueSettings(concurrency, waiting, waiting_bytes)
        )
        self.through = asyncio.Event()
        self.done: list[str] = []

    async def work(self, item: str) -> None:
        if item.startswith("a"):
            with self.queue.step_aside(10):
                await self.through.wait()
        self.done.append(item)


async def test_suspended_item_frees_its_place_for_the_next() -> None:
    work = Work(concurrency=1, waiting=3)
    assert all(work.queue.put(item, 1) for item in ("a1", "b1", "a2", "b2"))
    await asyncio.sleep(0)
    assert await work.queue.finish(0.05) == []  # cancelled: nothing let them through
    assert work.done == ["b1", "b2"]


async def test_resumed_item_finishes_and_the_running_count_stays_right() -> None:
    work = Work(concurrency=2, waiting=10)
    assert all(work.queue.put(item, 1) for item in ("a1", "a2", "a3", "b1"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert (work.queue.running, work.queue.waiting, work.done) == (0, 3, ["b1"])
    work.through.set()
    assert await work.queue.finish(5) == []
    assert sorted(work.done) == ["a1", "a2", "a3", "b1"]
    assert (work.queue.running, work.queue.waiting) == (0, 0)
    assert work.queue.put("b2", 1)
    await work.queue.finish(5)
    assert work.done[-1] == "b2"


async def test_suspended_item_counts_as_waiting() -> None:
    work = Work(concurrency=1, waiting=2, waiting_bytes=25)
    assert work.queue.put("a1", 1)
    await asyncio.sleep(0)
    assert work.queue.put("a2", 1)
    await asyncio.sleep(0)
    assert (work.queue.running, work.queue.waiting) == (0, 2)
    assert work.queue.put("b1", 1)  # a place is free
    assert not work.queue.put("b2", 1)  # no room to wait
    work.through.set()
    await work.queue.finish(5)
    work.through.clear()
    assert all(work.queue.put(item, 1) for item in ("a1", "b1"))
    assert not work.queue.put("b2", 25)
    work.through.set()
    await work.queue.finish(5)


def busy(seconds: float) -> None:
    """Compute for so long, without ever waiting."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_work_that_never_waits_does_not_hold_the_event_loop() -> None:
    done = 0

    async def work(_item: int) -> None:
        nonlocal done
        busy(0.001)
        done += 1

    queue = WorkQueue[int](work, WorkQueueSettings(concurrency=8, waiting=1000))
    turns = 0
    with watched_loop() as watch:
        assert all(queue.put(item, 1) for item in range(400))
        while queue.running or queue.waiting:
            await asyncio.sleep(0)
            turns += 1
    assert done == 400
    assert turns > 20
    assert watch.longest_s < 0.05 * slowness()


async def test_cancelled_while_others_run_it_leaves_what_waits_unbegun() -> None:
    async def work(_item: int) -> None:
        busy(0.006)

    queue = WorkQueue[int](work, WorkQueueSettings(concurrency=2, waiting=1000))
    assert all(queue.put(item, 1) for item in range(1000))
    unbegun = await queue.finish(0.02)
    assert 0 < len(unbegun) < 1000
    assert queue.running == 0


async def test_an_item_that_loses_its_cancellation_is_cancelled_again() -> None:
    forever = asyncio.Event()

    async def work(_item: int) -> None:
        with suppress(asyncio.CancelledError):
            await forever.wait()
        await forever.wait()

    queue = WorkQueue[int](work, WorkQueueSettings(concurrency=1, waiting=1))
    assert queue.put(1, 1)
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert await queue.finish(0.01) == []
