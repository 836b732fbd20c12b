"""Bounded work: so much at once, so much waiting, and beyond that a plain no. Knows no bus."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import Generic, TypeVar

from msgspec import Struct

log = getLogger(__name__)

Item = TypeVar("Item")


class IntakeSettings(Struct, frozen=True):
    """How many items at once, and how many, of how many bytes together, may wait for their turn."""

    concurrency: int = 64
    waiting: int = 1024
    waiting_bytes: int = 64 * 1024 * 1024


class Intake(Generic[Item]):
    """Runs ``work`` on each item taken, in order of arrival. ``work`` must not raise.

    A task lives as long as there is work for it, so a busy intake makes no task per item, and an
    idle one keeps none. (Fixed workers were measured: a tenth less of the little that this costs.)
    """

    def __init__(self, work: Callable[[Item], Awaitable[None]], settings: IntakeSettings) -> None:
        self._work = work
        self._settings = settings
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: deque[tuple[Item, int]] = deque()
        self._queued_bytes = 0

    @property
    def running(self) -> int:
        """Items being worked on."""
        return self._running

    @property
    def waiting(self) -> int:
        """Items taken, but not begun."""
        return len(self._queue)

    def take(self, item: Item, size: int) -> bool:
        """Start or queue the item, of ``size`` bytes; False when there is no room for it."""
        settings = self._settings
        if self._running < settings.concurrency:
            self._running += 1
            task = asyncio.create_task(self._run(item))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return True
        if (
            len(self._queue) >= settings.waiting
            or self._queued_bytes + size > settings.waiting_bytes
        ):
            return False
        self._queue.append((item, size))
        self._queued_bytes += size
        return True

    async def finish(self, patience: float) -> list[Item]:
        """Wait for everything taken; after ``patience`` seconds cancel what runs.

        Gives the items that were never begun: empty unless the patience ran out. Call it when
        nothing is taken any more.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        late = list(self._tasks)
        for task in late:
            task.cancel()
        if late:
            log.error("out of patience: %d running, %d waiting", len(late), len(self._queue))
            await asyncio.wait(late)
        left = [item for item, _ in self._queue]
        self._queue.clear()
        self._queued_bytes = 0
        return left

    async def _run(self, item: Item) -> None:
        try:
            await self._work(item)
            while self._queue:
                item, size = self._queue.popleft()
                self._queued_bytes -= size
                await self._work(item)
        finally:
            self._running -= 1  # in the same step as the look at the queue: nothing is left behind
