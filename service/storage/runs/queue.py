"""pgqueuer's queue: how occurrences are enqueued, and how a worker takes them and gives them up.

Its tables, its trigger and its way of enqueueing; taking and giving up are our own. pgqueuer ends
and repeats a job by its id alone: a worker that was frozen, lost its job to another and woke up
would delete the row that the other is working on. So everything that a worker says about a job is
made conditional on the job still being its own.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings

from service.storage.engine.acquire import IN_ORDER, by_keys
from service.storage.engine.connection import Connection

ENTRYPOINT = "extension-scheduled-invocation"

SETTINGS = DBSettings(db_schema="ext_scheduler")

# What waits, and what was taken by somebody who has not been heard of since, in one order; jobs for
# later are not looked through where nothing else waits. Without rows in the queue's own log, here
# and below: what became of a job stands in its run record. Found by an array of ids: a plan for a
# join, kept from when the queue was empty, would read all of it.
TAKE = """
WITH waiting AS (
  SELECT q.id, q.priority FROM ext_scheduler.pgqueuer q
  WHERE q.entrypoint = $1::text AND q.status = 'queued' AND q.execute_after < now()
    AND (SELECT min(e.execute_after) FROM ext_scheduler.pgqueuer e
      WHERE e.entrypoint = $1::text AND e.status = 'queued') < now()
  ORDER BY q.priority DESC, q.id LIMIT $2::integer
  FOR UPDATE SKIP LOCKED
), lost AS (
  SELECT q.id, q.priority FROM ext_scheduler.pgqueuer q
  WHERE q.status = 'picked' AND q.heartbeat < now() - $4::interval AND q.entrypoint = $1::text
  ORDER BY q.heartbeat LIMIT $2::integer
  FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE ext_scheduler.pgqueuer q
  SET status = 'picked', updated = now(), heartbeat = now(), queue_manager_id = $3::uuid
  WHERE q.id = ANY (ARRAY(
    SELECT id FROM (SELECT * FROM waiting UNION ALL SELECT * FROM lost) both_kinds
    ORDER BY priority DESC, id LIMIT $2::integer))
  RETURNING q.id, q.priority, q.payload
)
SELECT id, payload FROM taken ORDER BY priority DESC, id
"""

NEXT = """
SELECT execute_after - now() FROM ext_scheduler.pgqueuer
WHERE entrypoint = $1::text AND status = 'queued'
ORDER BY execute_after LIMIT 1
"""

END_JOBS = """
DELETE FROM ext_scheduler.pgqueuer q
WHERE q.id = ANY ($1::bigint[]) AND q.queue_manager_id = $2::uuid
"""

HAND_BACK = """
UPDATE ext_scheduler.pgqueuer q
SET status = 'queued', execute_after = now() + b.delay, updated = now(), queue_manager_id = NULL,
  attempts = q.attempts + 1
FROM unnest($1::bigint[], $3::interval[]) AS b (id, delay)
WHERE q.id = b.id AND q.queue_manager_id = $2::uuid
"""

BEAT = """
UPDATE ext_scheduler.pgqueuer q SET heartbeat = now()
WHERE q.id = ANY ($1::bigint[]) AND q.queue_manager_id = $2::uuid
  AND q.heartbeat < now() - $3::interval
"""

DEPTH = """
SELECT count(*) FROM ext_scheduler.pgqueuer WHERE entrypoint = $1::text AND status = 'queued'
"""

QUERIES = QueryQueueBuilder(SETTINGS)


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


class Job(Struct, frozen=True):
    """A job that was taken; ``payload`` is whatever somebody enqueued."""

    id: int
    payload: bytes | None


class Taken(Struct, frozen=True):
    """Jobs, the most urgent first. ``wait``: where there are no more now, until the next may be."""

    jobs: list[Job]
    wait: timedelta | None = None


def read_ticket(payload: bytes | None) -> Ticket:
    """Read a job's payload. Raises ValueError when somebody else enqueued the job."""
    try:
        return _TICKETS.decode(payload or b"")
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


_TICKETS = msgspec.json.Decoder(Ticket)


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


async def take(connection: Connection, owner: UUID, limit: int, patience: timedelta) -> Taken:
    """Take jobs, at a cost that does not grow with how many wait.

    ``patience`` is for how long their holder may not have been heard of. ``wait`` is None where
    as many as wanted were taken, and when nothing at all is to come.
    """
    async with by_keys(connection, IN_ORDER):
        rows = await connection.fetch(TAKE, ENTRYPOINT, limit, owner, patience)
        jobs = [Job(*row) for row in rows]
        wait = await connection.fetchval(NEXT, ENTRYPOINT) if len(jobs) < limit else None
    return Taken(jobs, wait)


async def end(connection: Connection, ids: Sequence[int], owner: UUID) -> None:
    """End jobs that are still the owner's."""
    await connection.execute(END_JOBS, ids, owner)


async def hand_back(
    connection: Connection, jobs: Sequence[tuple[int, timedelta]], owner: UUID
) -> None:
    """Give jobs (id, after how long they may be taken) back that are still the owner's."""
    await connection.execute(
        HAND_BACK, [id_ for id_, _ in jobs], owner, [delay for _, delay in jobs]
    )


async def beat(connection: Connection, ids: Sequence[int], owner: UUID, age: timedelta) -> None:
    """Say that these jobs are being worked on, where that was last said so long ago."""
    await connection.execute(BEAT, ids, owner, age)


def _over(connection: Connection) -> Queries:
    """pgqueuer's repository over a connection, pointed at our schema."""
    # A pool's proxy is a connection in all but its type.
    queries = Queries(AsyncpgDriver(cast("asyncpg.Connection", connection)))
    queries.qbe = QueryBuilderEnvironment(SETTINGS)
    queries.qbq = QUERIES
    queries.qbs = QuerySchedulerBuilder(SETTINGS)
    return queries
