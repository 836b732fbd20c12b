"""A bounded work queue: items beyond its bounds are refused. Knows no bus."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Generic, TypeVar

from msgspec import Struct

from contracts.shared.cancellation import cancel_and_wait

log = getLogger(__name__)

Item = TypeVar("Item")

HOLD_S = 0.005
"""How long the queue works at a stretch when no item waits for anything.

A flood of such items must not keep the event loop from reading: only what was read can be refused.
"""


class WorkQueueSettings(Struct, frozen=True):
    """How many items run at once; how many may wait, and of how many bytes together."""

    concurrency: int = 64
    waiting: int = 1024
    waiting_bytes: int = 64 * 1024 * 1024


class WorkQueue(Generic[Item]):
    """Runs ``work`` on each item, in order of arrival. ``work`` must not raise.

    A task lives as long as there is work for it, so a busy queue makes no task per item, and an
    idle one keeps none. (Fixed workers would save a tenth of the little that this costs.)
    """

    def __init__(
        self, work: Callable[[Item], Awaitable[None]], settings: WorkQueueSettings
    ) -> None:
        self._work = work
        self._settings = settings
        self._running = 0
        self._aside = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: deque[tuple[Item, int]] = deque()
        self._waiting_bytes = 0
        self._began_at = 0.0
        self._resumption: asyncio.Future[None] | None = None

    @property
    def running(self) -> int:
        """Return how many items are being run."""
        return self._running

    @property
    def waiting(self) -> int:
        """Return how many accepted items have not begun, or have stepped aside."""
        return len(self._queue) + self._aside

    def put(self, item: Item, size: int) -> bool:
        """Start or queue the item, of ``size`` bytes; return False when there is no room for it."""
        settings = self._settings
        if self._running < settings.concurrency:
            self._running += 1
            task = asyncio.create_task(self._run(item))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return True
        if self.waiting >= settings.waiting or self._waiting_bytes + size > settings.waiting_bytes:
            return False
        self._queue.append((item, size))
        self._waiting_bytes += size
        return True

    @contextmanager
    def step_aside(self, size: int) -> Iterator[None]:
        """Let another run while the current item, of ``size`` bytes, waits for something else.

        It counts as waiting until then. It resumes without queueing again: few items do so, and
        until they are done nothing new begins beyond the bound.
        """
        self._running -= 1
        self._aside += 1
        self._waiting_bytes += size
        if self._queue and self._running < self._settings.concurrency:
            item, waited = self._next()
            self.put(item, waited)
        try:
            yield
        finally:
            self._waiting_bytes -= size
            self._aside -= 1
            self._running += 1

    async def finish(self, timeout_s: float) -> list[Item]:
        """Wait for everything accepted; after ``timeout_s`` seconds cancel what runs.

        Return the items that were never begun: none unless it timed out. Call it when no more
        items are put in.
        """
        end = time.monotonic() + timeout_s
        while self._tasks and (left := end - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left)  # stepping aside begins further ones
        late = list(self._tasks)
        if late:
            log.error("drain timed out: %d running, %d waiting", len(late), len(self._queue))
            await cancel_and_wait(late)
        unbegun = []
        while self._queue:
            unbegun.append(self._next()[0])
        return unbegun

    def _next(self) -> tuple[Item, int]:
        item, size = self._queue.popleft()
        self._waiting_bytes -= size
        return item, size

    async def _run(self, item: Item) -> None:
        try:
            await self._work(item)
            while self._queue and self._running <= self._settings.concurrency:
                if time.monotonic() - self._began_at > HOLD_S:
                    await self._others_run()
                else:
                    await self._work(self._next()[0])
        finally:
            self._running -= 1  # in the same step as the look at the queue: nothing is left behind

    async def _others_run(self) -> None:
        """Wait until the event loop has run what else is ready; all tasks wait for the same."""
        if self._resumption is None:
            loop = asyncio.get_running_loop()
            self._resumption = loop.create_future()
            loop.call_soon(self._resume)
        await asyncio.shield(self._resumption)

    def _resume(self) -> None:
        resumption, self._resumption = self._resumption, None
        self._began_at = time.monotonic()
        if resumption is not None:
            resumption.set_result(None)
