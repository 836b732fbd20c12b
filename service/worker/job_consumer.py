"""Claims jobs from the queue, runs them concurrently, and sends their heartbeats.

pgqueuer's own manager does the same with two tasks, a timer and a context for each job: a quarter
of what an occurrence costs a worker. Here a job is one task, and a statement serves many jobs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from logging import getLogger
from typing import Any
from uuid import uuid4

import asyncpg
from msgspec import Struct

from contracts.shared.cancellation import cancel_and_wait
from service.flow_control.micro_batcher import MicroBatcher
from service.storage.engine.acquire import acquired
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_refusal, is_unavailable
from service.storage.runs import queue
from service.storage.runs.queue import Job, JobDelay, JobEnd, JobPayload, UnreadablePayloadError
from service.worker.job_notifications import keep_listening
from service.worker.outage import Outage

log = getLogger(__name__)

FAILED_JOB_DELAY = timedelta(seconds=5)
MIN_POLL_S = 0.1
MAX_WRITE_ATTEMPTS = 6

JobHandler = Callable[[JobPayload], Awaitable[JobDelay]]
"""Carries out a job; returns the delay before it may be claimed again, None to end it."""

Work = Callable[[], Awaitable[JobDelay | JobEnd]]
"""What carries out a job that is running, and may have ended it."""


class JobConsumerSettings(Struct, frozen=True, kw_only=True):
    """``batch`` jobs are claimed at once, ``capacity`` run at most; times in seconds.

    A job whose worker has sent no heartbeat for ``heartbeat_s`` may be claimed by any.
    ``abandoned`` is the delay before a job that was abandoned while stopping may be claimed.
    """

    batch: int = 200
    capacity: int = 900
    poll_s: float = 1.0
    heartbeat_s: float = 30.0
    abandoned: timedelta = timedelta(seconds=42)


class JobConsumer:
    """Run it once. ``owner`` is the name under which it claims jobs."""

    def __init__(
        self, pool: asyncpg.Pool, handler: JobHandler, settings: JobConsumerSettings
    ) -> None:
        self.owner = uuid4()
        self.stopping = False
        self._pool = pool
        self._handler = handler
        self._settings = settings
        self._running: dict[int, asyncio.Task[None]] = {}
        self._expecting = False
        self._doubtful: dict[int, Work] = {}
        self._wake = asyncio.Event()
        self._outage = Outage()
        self._unanswered = False
        self._ends: MicroBatcher[int, None] = MicroBatcher(self._end, isolates=is_refusal)
        self._releases: MicroBatcher[tuple[int, timedelta], None] = MicroBatcher(
            self._release, isolates=is_refusal
        )

    @property
    def running(self) -> int:
        """Return the number of jobs that are claimed and neither ended nor released."""
        return len(self._running)

    @property
    def room(self) -> int:
        """Return how many more jobs may run."""
        return self._settings.capacity - len(self._running)

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Keep ``run`` from ending within the context, at whose end jobs may be started."""
        self._expecting = True
        try:
            yield
        finally:
            self._expecting = False
            if self.stopping or self._unanswered:
                self._wake.set()

    def start(self, id_: int, work: Work) -> None:
        """Run a job that is the owner's already."""
        # One of ours that was thought lost, because this process stood still, is not started a
        # second time.
        if id_ not in self._running:
            self._running[id_] = asyncio.create_task(self._run_job(id_, work))

    def start_if_owned(self, work: Mapping[int, Work]) -> None:
        """Run jobs that a COMMIT without an answer may have enqueued as the owner's, if it has."""
        self._doubtful.update(work)
        self._unanswered = True
        self._wake.set()

    def stop(self) -> None:
        """Claim no more; ``run`` ends once the running jobs have ended."""
        self.stopping = True
        self._wake.set()

    def abandon(self) -> int:
        """Cancel the running jobs, which releases them with a delay. Returns how many."""
        for task in self._running.values():
            task.cancel()
        return len(self._running)

    async def run(self) -> None:
        """Claim jobs until stopped. Raises ListenerLostError, and what the database raises."""
        watchers = {
            self._watcher(self._send_heartbeats()),
            self._watcher(keep_listening(self._pool, self._wake.set)),
        }
        try:
            while not self.stopping:
                for watcher in watchers:
                    if watcher.done():
                        watcher.result()
                await self._claim_batch()
        finally:
            try:
                # Heartbeats continue until the last job has ended.
                while self._running or self._expecting:
                    if self._running:
                        await asyncio.wait(self._running.values())
                    else:
                        self._wake.clear()
                        await self._wake.wait()
            finally:
                await cancel_and_wait(watchers)

    def _watcher(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._wake.set())
        return task

    async def _claim_batch(self) -> None:
        settings = self._settings
        self._wake.clear()
        room = self.room
        if room < min(settings.batch, settings.capacity) // 2:
            await self._wake.wait()  # a job that ends wakes it, and so does a watcher that ends
            return
        limit = min(settings.batch, room)
        heartbeat_timeout = timedelta(seconds=settings.heartbeat_s)
        try:
            async with acquired(self._pool) as connection:
                # Not while a transaction enqueues jobs that are ours: it starts them itself.
                if self._unanswered and not self._expecting:
                    self._start(await queue.held(connection, self.owner, list(self._running)))
                    self._unanswered = False
                    self._doubtful.clear()
                claimed = await queue.claim(connection, self.owner, limit, heartbeat_timeout)
            self._outage.over()
        except Exception as error:
            if not is_unavailable(error) and not is_refusal(error):
                raise
            log.warning("claim of jobs deferred: %r", error)
            claimed = queue.ClaimedJobs([], self._outage.retry_delay(error))
            # It may have been committed all the same.
            self._unanswered |= claimed.wait is not None
            if is_refusal(error):
                claimed = await self._claim_singly(limit, heartbeat_timeout)
        self._start(claimed.jobs)
        if len(claimed.jobs) < limit:
            await self._pause(claimed.wait)

    def _start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.start(job.id, self._doubtful.get(job.id) or partial(self._handle, job.payload))

    async def _claim_singly(self, limit: int, heartbeat_timeout: timedelta) -> queue.ClaimedJobs:
        async with acquired(self._pool) as connection:
            jobs, refused = await queue.claim_singly(
                connection, self.owner, limit, heartbeat_timeout
            )
        for id_, error in refused.items():
            log.error("job %d cannot be claimed: %r", id_, error)
        return queue.ClaimedJobs(jobs)

    async def _pause(self, wait: timedelta | None) -> None:
        poll_s = self._settings.poll_s
        if wait is not None:
            poll_s = min(poll_s, max(wait.total_seconds(), MIN_POLL_S))
        try:
            async with asyncio.timeout(poll_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _handle(self, payload: bytes | None) -> Awaitable[JobDelay]:
        return self._handler(queue.read_payload(payload))

    async def _run_job(self, id_: int, work: Work) -> None:
        try:
            delay = await work()
        except UnreadablePayloadError as error:
            log.warning("job %d has an unreadable payload: %s", id_, error)
            delay = None
        except asyncio.CancelledError:
            # Abandoned while stopping: the run is free when its lease ends.
            delay = self._settings.abandoned
        except Exception:
            # The run record decides how often that may happen.
            log.exception("job %d failed", id_)
            delay = FAILED_JOB_DELAY
        try:
            if delay is None:
                await self._ends.add(id_)
            elif isinstance(delay, timedelta):
                await self._releases.add((id_, delay))
        except Exception:
            # Another worker claims it when its heartbeat is old.
            log.exception("failed to release job %d", id_)
        finally:
            del self._running[id_]
            if self._settings.capacity - len(self._running) == self._settings.batch // 2:
                self._wake.set()

    async def _end(self, ids: Sequence[int]) -> list[None]:
        await self._retry(lambda connection: queue.end(connection, ids, self.owner))
        return [None] * len(ids)

    async def _release(self, jobs: Sequence[tuple[int, timedelta]]) -> list[None]:
        await self._retry(lambda connection: queue.release(connection, jobs, self.owner))
        return [None] * len(jobs)

    async def _retry(self, write: Callable[[Connection], Awaitable[None]]) -> None:
        """Write, retrying while the database is unavailable. Raises what the last try raised."""
        for attempt in range(MAX_WRITE_ATTEMPTS):
            try:
                async with acquired(self._pool) as connection:
                    return await write(connection)
            except Exception as error:
                if attempt == MAX_WRITE_ATTEMPTS - 1 or not is_unavailable(error):
                    raise
                await asyncio.sleep(2**attempt / 8)
        return None

    async def _send_heartbeats(self) -> None:
        interval_s = self._settings.heartbeat_s / 4
        while True:
            await asyncio.sleep(interval_s)
            if not self._running:
                continue
            min_age = timedelta(seconds=interval_s / 2)
            if not await self._write_heartbeats(list(self._running), min_age):
                for id_ in list(self._running):
                    await self._write_heartbeats([id_], min_age)

    async def _write_heartbeats(self, ids: list[int], min_age: timedelta) -> bool:
        """Write heartbeats if the database is available; return False if it refuses one."""
        try:
            async with acquired(self._pool) as connection:
                await queue.heartbeat(connection, ids, self.owner, min_age)
        except Exception as error:
            if not is_unavailable(error) and not is_refusal(error):
                raise
            log.warning("heartbeat of %d jobs deferred, first %d: %r", len(ids), ids[0], error)
            return not is_refusal(error)
        return True
