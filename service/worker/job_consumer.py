"""Takes jobs from the queue, has them carried out side by side, and keeps them alive meanwhile.

pgqueuer's own manager does the same with two tasks, a timer and a context for each job: a quarter
of what an occurrence costs a worker. Here a job is one task, and a statement speaks for many jobs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from logging import getLogger
from typing import Any
from uuid import uuid4

import asyncpg
from msgspec import Struct

from service.flow_control.micro_batcher import Gather
from service.storage.engine.acquire import acquired
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_unavailable
from service.storage.runs import queue
from service.storage.runs.queue import Job, Ticket
from service.storage.runs.queue_listener import Listener, ListenerLostError, listening

log = getLogger(__name__)

FAULT_DELAY = timedelta(seconds=5)
LEAST_PAUSE_S = 0.1
PROBE_S = 10.0
TRIES = 6

Handle = Callable[[Ticket], Awaitable[timedelta | None]]
"""Carries a job out; returns None when it is done, else after how long it is to be taken again."""


class ConsumerSettings(Struct, frozen=True, kw_only=True):
    """``batch`` jobs are taken at once, ``capacity`` held at most; times in seconds.

    A job whose holder has not been heard of for ``heartbeat_s`` is anybody's. ``abandoned`` is
    after how long a job that was given up while stopping may be taken.
    """

    batch: int = 200
    capacity: int = 900
    poll_s: float = 1.0
    heartbeat_s: float = 30.0
    abandoned: timedelta = timedelta(seconds=42)


class Consumer:
    """Run it once. ``owner`` is the name under which it holds jobs."""

    def __init__(self, pool: asyncpg.Pool, handle: Handle, settings: ConsumerSettings) -> None:
        self.owner = uuid4()
        self.stopping = False
        self._pool = pool
        self._handle = handle
        self._settings = settings
        self._held: dict[int, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._ends: Gather[int, None] = Gather(self._end)
        self._returns: Gather[tuple[int, timedelta], None] = Gather(self._hand_back)

    @property
    def in_hand(self) -> int:
        """Jobs taken and not yet given up."""
        return len(self._held)

    def stop(self) -> None:
        """Take nothing more; ``run`` ends once what is in hand has ended."""
        self.stopping = True
        self._wake.set()

    def abandon(self) -> int:
        """Give up what is in hand: those jobs go back for a while. Returns how many."""
        for task in self._held.values():
            task.cancel()
        return len(self._held)

    async def run(self) -> None:
        """Take jobs until told to stop. Raises ListenerLostError, and what the database raises."""
        async with listening(self._pool, self._wake.set) as listener:
            watchers = {
                self._watcher(self._beat()),
                self._watcher(self._probe(listener)),
                self._watcher(_until_lost(listener)),
            }
            try:
                while not self.stopping:
                    for watcher in watchers:
                        if watcher.done():
                            watcher.result()
                    await self._round()
            finally:
                try:
                    # The heart goes on beating until the last of them has ended.
                    while self._held:
                        await asyncio.wait(self._held.values())
                finally:
                    for watcher in watchers:
                        watcher.cancel()
                    await asyncio.gather(*watchers, return_exceptions=True)

    def _watcher(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._wake.set())
        return task

    async def _round(self) -> None:
        settings = self._settings
        self._wake.clear()
        room = settings.capacity - len(self._held)
        if room < min(settings.batch, settings.capacity) // 2:
            await self._wake.wait()  # a job that ends wakes, and so does the end of all
            return
        limit = min(settings.batch, room)
        patience = timedelta(seconds=settings.heartbeat_s)
        async with acquired(self._pool) as connection:
            taken = await queue.take(connection, self.owner, limit, patience)
        for job in taken.jobs:
            # Our own that was thought lost, because this process stood still, is not begun again.
            if job.id not in self._held:
                self._held[job.id] = asyncio.create_task(self._carry_out(job))
        if len(taken.jobs) < limit:
            await self._pause(taken.wait)

    async def _pause(self, wait: timedelta | None) -> None:
        poll_s = self._settings.poll_s
        if wait is not None:
            poll_s = min(poll_s, max(wait.total_seconds(), LEAST_PAUSE_S))
        try:
            async with asyncio.timeout(poll_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _carry_out(self, job: Job) -> None:
        try:
            delay = await self._delay(job)
            if delay is None:
                await self._ends.add(job.id)
            else:
                await self._returns.add((job.id, delay))
        finally:
            del self._held[job.id]
            if self._settings.capacity - len(self._held) == self._settings.batch // 2:
                self._wake.set()

    async def _delay(self, job: Job) -> timedelta | None:
        try:
            ticket = queue.read_ticket(job.payload)
        except ValueError as error:
            log.warning("job %d is not ours: %s", job.id, error)
            return None
        try:
            return await self._handle(ticket)
        except asyncio.CancelledError:
            # Out of patience while stopping: the run is free when its lease ends.
            return self._settings.abandoned
        except Exception:
            # The run record decides how often that may happen.
            log.exception("job %d failed", job.id)
            return FAULT_DELAY

    async def _end(self, ids: Sequence[int]) -> list[None]:
        await self._tell(lambda connection: queue.end(connection, ids, self.owner))
        return [None] * len(ids)

    async def _hand_back(self, jobs: Sequence[tuple[int, timedelta]]) -> list[None]:
        await self._tell(lambda connection: queue.hand_back(connection, jobs, self.owner))
        return [None] * len(jobs)

    async def _tell(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do it, trying again where the database is away; what fails for good is found lost."""
        for pause in range(TRIES):
            try:
                async with acquired(self._pool) as connection:
                    return await work(connection)
            except Exception as error:
                if pause == TRIES - 1 or not is_unavailable(error):
                    log.exception("jobs not given up")
                    return None
                await asyncio.sleep(2**pause / 8)
        return None

    async def _beat(self) -> None:
        every_s = self._settings.heartbeat_s / 4
        while True:
            await asyncio.sleep(every_s)
            if not self._held:
                continue
            try:
                async with acquired(self._pool) as connection:
                    age = timedelta(seconds=every_s / 2)
                    await queue.beat(connection, list(self._held), self.owner, age)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("heartbeat put off: %r", error)

    async def _probe(self, listener: Listener) -> None:
        while True:
            await listener.probe(PROBE_S)
            await asyncio.sleep(PROBE_S)


async def _until_lost(listener: Listener) -> None:
    await listener.lost.wait()
    raise ListenerLostError
