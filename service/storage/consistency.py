"""Inconsistencies between tables: found here, repaired by maintenance and ``reconcile``."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection, affected
from service.storage.runs import attempts, queue
from service.storage.runs.occurrences import Occurrence
from service.storage.runs.queue import ENTRYPOINT, JobPayload, UnreadablePayloadError
from service.storage.schedules import firing_state, timers
from service.storage.schedules.disabling import ScheduleRef
from service.storage.schedules.ownership import DRIVEN_BY_OTHER, driven_by_other

# Rows of other job runners are left to them. A missing install fires nothing; a disabled one keeps
# its timers.
SCHEDULES_WITHOUT_TIMER = f"""
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id, s.cron, s.timezone
FROM tenant_extension_schedule s
JOIN tenant_extension_install i ON i.id = s.install_id AND i.tenant_id = s.tenant_id
LEFT JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
  AND ($3::text IS NULL OR t.tenant_id = $3)
WHERE s.enabled AND t.schedule_id IS NULL AND NOT {DRIVEN_BY_OTHER}
  AND s.id > $1::uuid AND ($3::text IS NULL OR s.tenant_id = $3)
ORDER BY s.id
LIMIT $2::integer
"""

RUNS_WITHOUT_JOB = """
SELECT r.tenant_id, r.install_id, r.schedule_id, r.slot, r.kind, r.trigger
FROM ext_scheduler.runs r
LEFT JOIN ext_scheduler.pgqueuer q ON q.status IN ('queued', 'picked')
  AND q.dedupe_key = 'extsched:' || r.install_id::text || ':' || r.schedule_id::text || ':'
    || to_char(r.slot AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    || CASE WHEN r.kind = 'manual' THEN ':manual' ELSE '' END
WHERE q.id IS NULL AND r.queued_at BETWEEN $1::timestamptz AND $2::timestamptz
  AND r.slot BETWEEN $1 - interval '7 days' AND $2
  AND r.status IN ('queued', 'running')
  AND coalesce(r.lease_until, r.retry_at, r.queued_at) < $2
  AND ($4::text IS NULL OR r.tenant_id = $4)
LIMIT $3::integer
"""

# The platform would create a job of its own for an enabled row without one.
CLAIM_OWNERSHIP = f"""
UPDATE tenant_extension_schedule s
SET job_id = CASE WHEN s.enabled THEN s.id END,
  runner_schedule_id =
    CASE WHEN s.enabled THEN 'extsched:' || s.install_id::text || ':' || s.id::text END,
  released = NULL
FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, schedule_id)
WHERE s.tenant_id = w.tenant_id AND s.id = w.schedule_id
  AND ($3::boolean OR s.enabled AND NOT {DRIVEN_BY_OTHER})
RETURNING s.tenant_id::text AS tenant_id, s.id
"""

SET_LAST_ERRORS = """
UPDATE tenant_extension_schedule s SET last_error = w.error
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS w (tenant_id, schedule_id, error)
WHERE s.tenant_id = w.tenant_id AND s.id = w.schedule_id
  AND s.last_error IS DISTINCT FROM w.error
"""

METADATA_VALUE = "SELECT value FROM ext_scheduler.facts WHERE key = $1::text"

SET_METADATA_VALUE = """
INSERT INTO ext_scheduler.facts (key, value) VALUES ($1::text, $2::text)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


SCHEDULES_WITHOUT_INSTALL = f"""
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id
FROM tenant_extension_schedule s
LEFT JOIN tenant_extension_install i ON i.tenant_id = s.tenant_id AND i.id = s.install_id
WHERE i.id IS NULL
  AND NOT EXISTS (
    SELECT FROM tenant_extension_schedule o
    WHERE o.tenant_id = s.tenant_id AND o.install_id = s.install_id AND {driven_by_other("o")})
  AND ($1::text IS NULL OR s.tenant_id = $1)
ORDER BY s.id
LIMIT $2::integer
"""

SCHEDULES_WITHOUT_ENDPOINT = f"""
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id
FROM tenant_extension_schedule s
JOIN tenant_extension_install i ON i.tenant_id = s.tenant_id AND i.id = s.install_id
LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id
WHERE e.id IS NULL AND s.enabled AND NOT {DRIVEN_BY_OTHER}
  AND ($1::text IS NULL OR s.tenant_id = $1)
ORDER BY s.id
LIMIT $2::integer
"""

JOBS = """
SELECT q.id, q.payload FROM ext_scheduler.pgqueuer q
WHERE q.entrypoint = $1::text AND q.status = 'queued' AND q.id > $2::bigint
ORDER BY q.id
LIMIT $3::integer
"""

REMOVE_JOBS = """
DELETE FROM ext_scheduler.pgqueuer WHERE id = ANY ($1::bigint[]) AND status = 'queued'
"""

TIMERS_WITHOUT_SCHEDULE = f"""
SELECT t.tenant_id, t.schedule_id, t.install_id
FROM ext_scheduler.timers t
LEFT JOIN tenant_extension_schedule s
  ON s.tenant_id = t.tenant_id AND s.id = t.schedule_id AND s.enabled
    AND NOT {DRIVEN_BY_OTHER} AND ($1::text IS NULL OR s.tenant_id = $1)
WHERE s.id IS NULL AND ($1::text IS NULL OR t.tenant_id = $1)
ORDER BY t.schedule_id
LIMIT $2::integer
"""

BATCH_SIZE = 1000


class UntimedSchedule(Struct, frozen=True):
    """An enabled schedule without a timer; cron and timezone may hold anything."""

    tenant_id: str
    schedule_id: UUID
    install_id: UUID
    cron: str | None
    timezone: str | None


async def schedules_without_timer(
    connection: Connection, after: UUID, limit: int, tenant_id: str | None = None
) -> list[UntimedSchedule]:
    """Return enabled schedules of this service without a timer, by id, after ``after``.

    Of one tenant, or of all.
    """
    return [
        UntimedSchedule(*row)
        for row in await connection.fetch(SCHEDULES_WITHOUT_TIMER, after, limit, tenant_id)
    ]


async def runs_without_job(
    connection: Connection,
    since: datetime,
    until: datetime,
    limit: int,
    tenant_id: str | None = None,
) -> list[Occurrence]:
    """Return unfinished occurrences, queued between two instants, that have no job."""
    rows = await connection.fetch(RUNS_WITHOUT_JOB, since, until, limit, tenant_id)
    return [
        Occurrence(
            tenant_id=row["tenant_id"],
            install_id=row["install_id"],
            schedule_id=row["schedule_id"],
            slot=row["slot"],
            kind=row["kind"],
            trigger=row["trigger"],
        )
        for row in rows
    ]


async def claim_ownership(
    connection: Connection, keys: Sequence[tuple[str, UUID]], *, from_others: bool = False
) -> set[tuple[str, UUID]]:
    """Mark schedules as driven by this service; return those (tenant, id) that are.

    Only enabled ones without anybody else's handle, unless they are taken ``from_others``.
    """
    if not keys:
        return set()
    rows = await connection.fetch(
        CLAIM_OWNERSHIP, [key[0] for key in keys], [key[1] for key in keys], from_others
    )
    return {(row["tenant_id"], row["id"]) for row in rows}


async def set_last_errors(connection: Connection, errors: dict[tuple[str, UUID], str]) -> None:
    """Set ``last_error`` of schedules that cannot be planned, (tenant, id) → error."""
    if errors:
        await connection.execute(
            SET_LAST_ERRORS,
            [key[0] for key in errors],
            [key[1] for key in errors],
            list(errors.values()),
        )


async def metadata_value(connection: Connection, key: str) -> str | None:
    """Return a value that is stored about the installation, such as its time zone release."""
    value: str | None = await connection.fetchval(METADATA_VALUE, key)
    return value


async def set_metadata_value(connection: Connection, key: str, value: str) -> None:
    """Store a value about the installation."""
    await connection.execute(SET_METADATA_VALUE, key, value)


async def schedules_without_install(
    connection: Connection, tenant_id: str | None, limit: int
) -> list[ScheduleRef]:
    """Return schedules whose install does not exist."""
    return [
        ScheduleRef(*row)
        for row in await connection.fetch(SCHEDULES_WITHOUT_INSTALL, tenant_id, limit)
    ]


async def schedules_without_endpoint(
    connection: Connection, tenant_id: str | None, limit: int
) -> list[ScheduleRef]:
    """Return enabled schedules whose endpoint row does not exist."""
    return [
        ScheduleRef(*row)
        for row in await connection.fetch(SCHEDULES_WITHOUT_ENDPOINT, tenant_id, limit)
    ]


async def timers_without_schedule(
    connection: Connection, tenant_id: str | None, limit: int
) -> list[ScheduleRef]:
    """Return timers whose schedule is missing, disabled, or driven by another job runner."""
    rows = await connection.fetch(TIMERS_WITHOUT_SCHEDULE, tenant_id, limit)
    return [ScheduleRef(*row) for row in rows]


async def remove_timers(connection: Connection, refs: Sequence[ScheduleRef]) -> int:
    """Remove these timers where the schedule is still missing or disabled; return the number.

    Timers that another session has locked stay. Call it in a transaction: whatever enables a
    schedule writes its timer too, so the schedule's state is final while its timer is locked.
    """
    keys = await timers.lock(connection, [(ref.tenant_id, ref.schedule_id) for ref in refs])
    enabled = await firing_state.read(connection, keys)
    stale = [key for key in keys if key not in enabled]
    await timers.remove(connection, stale)
    return len(stale)


async def jobs_without_run(connection: Connection, tenant_id: str | None, limit: int) -> list[int]:
    """Return queued jobs without a run record; unreadable jobs too, for all tenants."""
    orphans: list[int] = []
    after = 0
    while len(orphans) < limit:
        rows = await connection.fetch(JOBS, ENTRYPOINT, after, BATCH_SIZE)
        if not rows:
            break
        after = rows[-1]["id"]
        jobs: dict[int, JobPayload] = {}
        for row in rows:
            try:
                payload = queue.read_payload(row["payload"])
            except UnreadablePayloadError:
                if tenant_id is None:
                    orphans.append(row["id"])
                continue
            if tenant_id in {None, payload.tenant_id}:
                jobs[row["id"]] = payload
        orphans += await _orphaned(connection, jobs)
    return orphans[:limit]


async def remove_jobs(connection: Connection, ids: Sequence[int]) -> int:
    """Remove queued jobs; return the number of removed jobs."""
    tag = await connection.execute(REMOVE_JOBS, ids)
    return affected(tag)


async def _orphaned(connection: Connection, jobs: dict[int, JobPayload]) -> list[int]:
    if not jobs:
        return []
    runs = await attempts.load(connection, list(jobs.values()))
    return [id_ for id_, job in jobs.items() if (job.tenant_id, job.run_id) not in runs]
