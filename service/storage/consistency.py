"""Finding what does not fit together. The statements look; ``worker.maintenance`` mends."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.runs.occurrences import Occurrence

# An install that is gone fires nothing; a disabled one keeps its timers.
WITHOUT_TIMER = """
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id, s.cron, s.timezone
FROM tenant_extension_schedule s
JOIN tenant_extension_install i ON i.id = s.install_id AND i.tenant_id = s.tenant_id
LEFT JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
WHERE s.enabled AND t.schedule_id IS NULL
  AND s.id > $1::uuid AND ($3::text IS NULL OR s.tenant_id = $3)
ORDER BY s.id
LIMIT $2::integer
"""

WITHOUT_JOB = """
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

# The platform looks for enabled rows without a job, and would give them one of its own.
OWN = """
UPDATE tenant_extension_schedule s
SET job_id = s.id, runner_schedule_id = 'extsched:' || s.install_id::text || ':' || s.id::text
FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, schedule_id)
WHERE s.tenant_id = w.tenant_id AND s.id = w.schedule_id AND s.enabled
"""

COMPLAIN = """
UPDATE tenant_extension_schedule s SET last_error = w.error
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS w (tenant_id, schedule_id, error)
WHERE s.tenant_id = w.tenant_id AND s.id = w.schedule_id
  AND s.last_error IS DISTINCT FROM w.error
"""

FACT = "SELECT value FROM ext_scheduler.facts WHERE key = $1::text"

SET_FACT = """
INSERT INTO ext_scheduler.facts (key, value) VALUES ($1::text, $2::text)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


class Row(Struct, frozen=True):
    """An enabled schedule row without a timer; others may have written anything into it."""

    tenant_id: str
    schedule_id: UUID
    install_id: UUID
    cron: str | None
    timezone: str | None


async def without_timer(
    connection: Connection, after: UUID, limit: int, tenant_id: str | None = None
) -> list[Row]:
    """Return enabled schedules without a timer, of one tenant or all, by id, beyond ``after``."""
    return [Row(*row) for row in await connection.fetch(WITHOUT_TIMER, after, limit, tenant_id)]


async def without_job(
    connection: Connection,
    since: datetime,
    until: datetime,
    limit: int,
    tenant_id: str | None = None,
) -> list[Occurrence]:
    """Return occurrences planned in a time that are not ended and that no job stands for."""
    rows = await connection.fetch(WITHOUT_JOB, since, until, limit, tenant_id)
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


async def own(connection: Connection, keys: list[tuple[str, UUID]]) -> None:
    """Mark enabled schedules as driven by this service."""
    await connection.execute(OWN, [key[0] for key in keys], [key[1] for key in keys])


async def complain(connection: Connection, complaints: dict[tuple[str, UUID], str]) -> None:
    """Say on schedules why they cannot be planned."""
    if complaints:
        await connection.execute(
            COMPLAIN,
            [key[0] for key in complaints],
            [key[1] for key in complaints],
            list(complaints.values()),
        )


async def fact(connection: Connection, key: str) -> str | None:
    """Return a fact about the installation."""
    value: str | None = await connection.fetchval(FACT, key)
    return value


async def set_fact(connection: Connection, key: str, value: str) -> None:
    """Note a fact about the installation."""
    await connection.execute(SET_FACT, key, value)
