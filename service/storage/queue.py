"""pgqueuer: how occurrences are enqueued, and how a worker takes them and gives them up.

pgqueuer ends and repeats a job by its id alone. A worker that was frozen, lost its job to another
and woke up would delete the row that the other is working on, so everything that a worker says
about a job is made conditional on the job still being its own.
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar, cast
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import (
    JOB_STATUS,
    HealthCheckId,
    JobId,
    QueueEntrypoint,
    QueueManagerId,
)
from pgqueuer.ports.driver import NotifyCallback
from pgqueuer.ports.repository import EntrypointExecutionParameter

from service.storage.acquire import acquired, by_keys
from service.storage.connection import Connection
from service.storage.faults import is_unavailable
from service.storage.gather import Gather

ENTRYPOINT = "extension-scheduled-invocation"

SETTINGS = DBSettings(db_schema="ext_scheduler")

# Without a row in the queue's own log: what became of a job stands in its run record.
END_JOBS = """
DELETE FROM ext_scheduler.pgqueuer q
USING unnest($1::bigint[], $2::uuid[]) AS e (id, owner)
WHERE q.id = e.id AND q.queue_manager_id = e.owner
"""

HAND_BACK = """
UPDATE ext_scheduler.pgqueuer q
SET status = 'queued', execute_after = now() + b.delay, updated = now(), queue_manager_id = NULL,
  attempts = q.attempts + 1
FROM unnest($1::bigint[], $2::uuid[], $3::interval[]) AS b (id, owner, delay)
WHERE q.id = b.id AND q.queue_manager_id = b.owner
"""

BEAT = """
UPDATE ext_scheduler.pgqueuer q SET heartbeat = now()
WHERE q.id = ANY ($1::bigint[]) AND q.queue_manager_id = $2::uuid
"""

DEPTH = """
SELECT count(*) FROM ext_scheduler.pgqueuer WHERE entrypoint = $1::text AND status = 'queued'
"""

# pgqueuer counts, and only wants to know whether there are any.
QUEUED = """
SELECT EXISTS (SELECT FROM ext_scheduler.pgqueuer
  WHERE entrypoint = ANY ($1::text[]) AND status = 'queued')::integer
"""
ELIGIBLE = """
SELECT EXISTS (SELECT FROM ext_scheduler.pgqueuer
  WHERE entrypoint = ANY ($1::text[]) AND status = 'queued' AND execute_after < now())::integer
"""

# A plan made for an empty queue is kept for as long as the connection lasts, and statistics lag
# behind a backlog that came within a second: such a plan reads, sorts and joins all of it for each
# batch that is taken (seen: 800 ms with 10,000 waiting, against 5). So it is made anew each time,
# by keys, and in the order of the index.
BY_PRIORITY = """
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_sort = off
"""

FAULT_DELAY = timedelta(seconds=5)
HAND_BACK_TRIES = 6
QUERIES = QueryQueueBuilder(SETTINGS)

Bound = TypeVar("Bound", bound=Queries)


class Ticket(Struct, frozen=True):
    """A job's payload, as JSON: which run, and nothing else."""

    tenant_id: str
    run_id: UUID
    schedule_id: UUID
    slot: datetime


class NewJob(Struct, frozen=True):
    """A job to enqueue; a higher ``priority`` goes first, ``delay`` is from now."""

    ticket: Ticket
    dedupe_key: str
    priority: int = 0
    delay: timedelta = timedelta(0)


def read_ticket(payload: bytes | None) -> Ticket:
    """Read a job's payload. Raises ValueError when somebody else enqueued the job."""
    try:
        return msgspec.json.decode(payload or b"", type=Ticket)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def dedupe_key(install_id: UUID, schedule_id: UUID, slot: str, kind: str) -> str:
    """``extsched:{install}:{schedule}:{slot}``, with ``:manual`` for a manual run."""
    suffix = ":manual" if kind == "manual" else ""
    return f"extsched:{install_id}:{schedule_id}:{slot}{suffix}"


async def enqueue(connection: Connection, jobs: Sequence[NewJob]) -> int:
    """Enqueue within the connection's transaction; return how many were not queued already."""
    if not jobs:
        return 0
    ids = await _over(connection).enqueue(
        [ENTRYPOINT] * len(jobs),
        [msgspec.json.encode(job.ticket) for job in jobs],
        [job.priority for job in jobs],
        [job.delay for job in jobs],
        [job.dedupe_key for job in jobs],
        on_conflict="skip",
    )
    return sum(id_ is not None for id_ in ids)


async def depth(connection: Connection) -> int:
    """Count the jobs that wait, those for later included."""
    count: int = await connection.fetchval(DEPTH, ENTRYPOINT)
    return count


class ListeningDriver(AsyncpgPoolDriver):
    """pgqueuer's driver over a pool, which knows when notifications have begun to arrive."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(pool)
        self.pool = pool
        self.listening = asyncio.Event()

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Listen; what is notified from now on arrives."""
        await super().add_listener(channel, callback)
        self.listening.set()


@dataclasses.dataclass
class OwnedJobs(Queries):
    """pgqueuer's repository as a worker uses it: a job leaves the queue only when it is done.

    A job whose handler failed, or was cancelled, goes back for a moment: the run record decides
    how often that may happen. ``owner`` is the id of the queue manager that works with it.
    """

    driver: ListeningDriver
    owner: QueueManagerId | None = None
    returns: Gather[tuple[Job, timedelta], None] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.returns = Gather(self._hand_back)

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Take jobs, at a cost that does not grow with how many wait."""
        asked = (entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout)
        async with acquired(self.driver.pool) as connection, by_keys(connection):
            await connection.execute(BY_PRIORITY)
            return await _over(connection).dequeue(batch_size, *asked)

    async def queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """1 where anything waits, now or for later; else 0."""
        return int(await self.driver.pool.fetchval(QUEUED, entrypoints))

    async def eligible_queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """1 where anything could be taken now; else 0."""
        return int(await self.driver.pool.fetchval(ELIGIBLE, entrypoints))

    async def log_jobs(
        self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]
    ) -> None:
        """End the successful jobs, hand the others back."""
        done = [job for job, status, _ in job_status if status == "successful"]
        failed = [job for job, status, _ in job_status if status != "successful"]
        if done:
            await self.driver.execute(END_JOBS, *_identities(done))
        if failed:
            await self.driver.execute(HAND_BACK, *_identities(failed), [FAULT_DELAY] * len(failed))

    async def retry_job(
        self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None
    ) -> None:
        """Hand a job back until ``delay`` has passed."""
        del traceback_record
        await self.returns.add((job, delay))

    async def _hand_back(self, returned: Sequence[tuple[Job, timedelta]]) -> list[None]:
        """Hand jobs back, trying again where the database is away: they must not get lost."""
        jobs, delays = [job for job, _ in returned], [delay for _, delay in returned]
        for pause in range(HAND_BACK_TRIES):
            try:
                await self.driver.execute(HAND_BACK, *_identities(jobs), delays)
            except Exception as error:
                if pause == HAND_BACK_TRIES - 1 or not is_unavailable(error):
                    raise
                await asyncio.sleep(2**pause / 8)
            else:
                break
        return [None] * len(jobs)

    async def notify_health_check(self, health_check_event_id: HealthCheckId) -> None:
        """Probe the listener, once it is there.

        pgqueuer begins to probe while it still opens the listener's connection. A first probe that
        is lost that way reads as a lost listener, and ends the worker ten seconds after its start.
        """
        await self.driver.listening.wait()
        await super().notify_health_check(health_check_event_id)

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Say that these jobs are being worked on."""
        await self.driver.execute(BEAT, list(set(job_ids)), self.owner)


def owned_jobs(pool: asyncpg.Pool) -> OwnedJobs:
    """Return a repository for one run of a queue manager over the pool."""
    return _bound(OwnedJobs(ListeningDriver(pool)))


def _over(connection: Connection) -> Queries:
    # A pool's proxy is a connection in all but its type.
    return _bound(Queries(AsyncpgDriver(cast("asyncpg.Connection", connection))))


def _identities(jobs: Sequence[Job]) -> tuple[list[JobId], list[QueueManagerId | None]]:
    return [job.id for job in jobs], [job.queue_manager_id for job in jobs]


def _bound(queries: Bound) -> Bound:
    """Point a repository at our schema."""
    queries.qbe = QueryBuilderEnvironment(SETTINGS)
    queries.qbq = QUERIES
    queries.qbs = QuerySchedulerBuilder(SETTINGS)
    return queries
