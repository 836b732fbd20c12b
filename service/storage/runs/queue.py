"""pgqueuer's queue: how occurrences are enqueued, and how a worker claims and releases them.

Its tables and its trigger; the statements are our own. pgqueuer ends and repeats a job by its id
alone: a worker that was frozen, lost its job to another and woke up would delete the row that the
other is working on. So every write of a worker to a job is conditional on the job still being its
own. It also logs each job that it enqueues, in a table with five indexes that nothing here reads.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct
from pgqueuer.domain.settings import DBSettings

from service.storage.engine.acquire import INDEX_ORDER, index_only_transaction
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_refusal

ENTRYPOINT = "extension-scheduled-invocation"

SETTINGS = DBSettings(db_schema="ext_scheduler")

# A job with an owner is claimed by it at once, and never waits.
ENQUEUE = """
INSERT INTO ext_scheduler.pgqueuer
  (entrypoint, priority, payload, execute_after, dedupe_key, queue_manager_id, status)
SELECT $1::text, j.priority, j.payload, now() + j.delay, j.dedupe_key, j.owner,
  CASE WHEN j.owner IS NULL THEN 'queued' ELSE 'picked' END::ext_scheduler.pgqueuer_status
FROM unnest($2::integer[], $3::bytea[], $4::interval[], $5::text[], $6::uuid[])
  AS j (priority, payload, delay, dedupe_key, owner)
ON CONFLICT (dedupe_key) WHERE status IN ('queued', 'picked') AND dedupe_key IS NOT NULL DO NOTHING
RETURNING dedupe_key, id
"""

# Jobs that wait, and jobs whose worker has stopped sending heartbeats, in one order; jobs for later
# are not read where nothing else waits. Without rows in the queue's own log, here and below: the
# result of a job is in its run record. Updated by an array of ids: a plan for a join, kept from
# when the queue was empty, would read all of it.
CLAIM_JOBS = """
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
), claimed AS (
  UPDATE ext_scheduler.pgqueuer q
  SET status = 'picked', updated = now(), heartbeat = now(), queue_manager_id = $3::uuid
  WHERE q.id = ANY (ARRAY(
    SELECT id FROM (SELECT * FROM waiting UNION ALL SELECT * FROM lost) both_kinds
    ORDER BY priority DESC, id LIMIT $2::integer))
  RETURNING q.id, q.priority, q.payload
)
SELECT id, payload FROM claimed ORDER BY priority DESC, id
"""

CLAIMABLE_JOBS = """
SELECT q.id FROM ext_scheduler.pgqueuer q
WHERE q.entrypoint = $1::text AND (q.status = 'queued' AND q.execute_after < now()
  OR q.status = 'picked' AND q.heartbeat < now() - $3::interval)
ORDER BY q.priority DESC, q.id LIMIT $2::integer
FOR UPDATE SKIP LOCKED
"""

CLAIM_JOB = """
UPDATE ext_scheduler.pgqueuer q
SET status = 'picked', updated = now(), heartbeat = now(), queue_manager_id = $2::uuid
WHERE q.id = $1::bigint
RETURNING q.id, q.payload
"""

HELD_JOBS = """
SELECT q.id, q.payload FROM ext_scheduler.pgqueuer q
WHERE q.queue_manager_id = $1::uuid AND q.status = 'picked' AND NOT q.id = ANY ($2::bigint[])
ORDER BY q.priority DESC, q.id
"""

NEXT_JOB_WAIT = """
SELECT execute_after - now() FROM ext_scheduler.pgqueuer
WHERE entrypoint = $1::text AND status = 'queued'
ORDER BY execute_after LIMIT 1
"""

END_JOBS = """
DELETE FROM ext_scheduler.pgqueuer q
WHERE q.id = ANY ($1::bigint[]) AND q.queue_manager_id = $2::uuid
"""

RELEASE_JOBS = """
UPDATE ext_scheduler.pgqueuer q
SET status = 'queued', execute_after = now() + b.delay, updated = now(), queue_manager_id = NULL,
  attempts = q.attempts + 1
FROM unnest($1::bigint[], $3::interval[]) AS b (id, delay)
WHERE q.id = b.id AND q.queue_manager_id = $2::uuid
"""

HEARTBEAT = """
UPDATE ext_scheduler.pgqueuer q SET heartbeat = now()
WHERE q.id = ANY ($1::bigint[]) AND q.queue_manager_id = $2::uuid
  AND q.heartbeat < now() - $3::interval
"""

COUNT_WAITING = """
SELECT count(*) FROM ext_scheduler.pgqueuer WHERE entrypoint = $1::text AND status = 'queued'
"""


class JobPayload(Struct, frozen=True):
    """A job's payload, as JSON: the identifiers of its run, and nothing else."""

    tenant_id: str
    run_id: UUID
    schedule_id: UUID
    slot: datetime


JobDelay: TypeAlias = timedelta | None
"""What becomes of a job: None ends it, else it is released and may be claimed after the delay."""


class JobEnd(Enum):
    """That a job needs no end of its own: it was ended with the result of its run."""

    WRITTEN = "written"


class UnreadablePayloadError(Exception):
    """A job's payload is not ours: another program enqueued the job."""


class NewJob(Struct, frozen=True):
    """A job to enqueue; a higher ``priority`` goes first, ``delay`` is from now.

    With an ``owner`` it is enqueued as claimed by that.
    """

    payload: JobPayload
    dedupe_key: str
    priority: int = 0
    delay: timedelta = timedelta(0)
    owner: UUID | None = None


class OwnedJob(Struct, frozen=True):
    """A job that its owner has claimed."""

    id: int
    owner: UUID


class Job(Struct, frozen=True):
    """A job that was claimed; ``payload`` is not validated."""

    id: int
    payload: bytes | None


class ClaimedJobs(Struct, frozen=True):
    """Jobs, the most urgent first. ``wait``: where no more wait now, the time to the next one."""

    jobs: list[Job]
    wait: timedelta | None = None


def read_payload(payload: bytes | None) -> JobPayload:
    """Return a job's payload. Raises UnreadablePayloadError when another program enqueued it."""
    try:
        return _PAYLOADS.decode(payload or b"")
    except msgspec.MsgspecError as error:
        raise UnreadablePayloadError(str(error)) from error


_PAYLOADS = msgspec.json.Decoder(JobPayload)


def dedupe_key(install_id: UUID, schedule_id: UUID, slot: str, kind: str) -> str:
    """Return ``extsched:{install}:{schedule}:{slot}``, with ``:manual`` for a manual run."""
    suffix = ":manual" if kind == "manual" else ""
    return f"extsched:{install_id}:{schedule_id}:{slot}{suffix}"


async def enqueue(connection: Connection, jobs: Sequence[NewJob]) -> dict[str, int]:
    """Enqueue within the connection's transaction; return the ids by dedupe key.

    Jobs that were queued already are left out.
    """
    if not jobs:
        return {}
    rows = await connection.fetch(
        ENQUEUE,
        ENTRYPOINT,
        [job.priority for job in jobs],
        [msgspec.json.encode(job.payload) for job in jobs],
        [job.delay for job in jobs],
        [job.dedupe_key for job in jobs],
        [job.owner for job in jobs],
    )
    return {row[0]: row[1] for row in rows}


async def depth(connection: Connection) -> int:
    """Return the number of jobs that wait, those for later included."""
    count: int = await connection.fetchval(COUNT_WAITING, ENTRYPOINT)
    return count


async def claim(
    connection: Connection, owner: UUID, limit: int, heartbeat_timeout: timedelta
) -> ClaimedJobs:
    """Claim jobs, at a cost that does not grow with how many wait.

    A job whose worker has sent no heartbeat for ``heartbeat_timeout`` may be claimed by any. The
    result's ``wait`` is None where ``limit`` jobs were claimed, and when the queue is empty.
    """
    async with index_only_transaction(connection, INDEX_ORDER):
        rows = await connection.fetch(CLAIM_JOBS, ENTRYPOINT, limit, owner, heartbeat_timeout)
        jobs = [Job(*row) for row in rows]
        wait = await connection.fetchval(NEXT_JOB_WAIT, ENTRYPOINT) if len(jobs) < limit else None
    return ClaimedJobs(jobs, wait)


async def claim_singly(
    connection: Connection, owner: UUID, limit: int, heartbeat_timeout: timedelta
) -> tuple[list[Job], dict[int, Exception]]:
    """Claim jobs one by one; return them, and by id why the database refused the others."""
    jobs: list[Job] = []
    refused: dict[int, Exception] = {}
    async with connection.transaction():
        rows = await connection.fetch(CLAIMABLE_JOBS, ENTRYPOINT, limit, heartbeat_timeout)
        for row in rows:
            try:
                async with connection.transaction():
                    claimed = await connection.fetchrow(CLAIM_JOB, row["id"], owner)
            except asyncpg.PostgresError as error:
                if not is_refusal(error):
                    raise
                refused[row["id"]] = error
            else:
                jobs += [Job(*claimed)] if claimed else []
    return jobs, refused


async def held(connection: Connection, owner: UUID, known: Sequence[int]) -> list[Job]:
    """Return the owner's jobs besides the ``known``: claimed in a COMMIT that was not answered."""
    return [Job(*row) for row in await connection.fetch(HELD_JOBS, owner, known)]


async def end(connection: Connection, ids: Sequence[int], owner: UUID) -> None:
    """End jobs that are still the owner's."""
    await connection.execute(END_JOBS, ids, owner)


async def end_owned(connection: Connection, jobs: Sequence[OwnedJob]) -> None:
    """End jobs that are still their owners', within the connection's transaction."""
    for owner in {job.owner for job in jobs}:
        await end(connection, [job.id for job in jobs if job.owner == owner], owner)


async def release(
    connection: Connection, jobs: Sequence[tuple[int, timedelta]], owner: UUID
) -> None:
    """Release jobs (id, delay before they may be claimed) that are still the owner's."""
    await connection.execute(
        RELEASE_JOBS, [id_ for id_, _ in jobs], owner, [delay for _, delay in jobs]
    )


async def heartbeat(
    connection: Connection, ids: Sequence[int], owner: UUID, min_age: timedelta
) -> None:
    """Write the heartbeat of jobs that are being worked on, where the last is ``min_age`` old."""
    await connection.execute(HEARTBEAT, ids, owner, min_age)
