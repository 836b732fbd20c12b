"""Changes to many schedules of a locked install in one statement."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules.rows import COLUMNS, JOINS, Schedule, from_columns

# Rows are locked in one order, as where runs end: two of them cannot wait for each other.
LOCK = """
SELECT s.id FROM tenant_extension_schedule s
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid
ORDER BY s.id FOR NO KEY UPDATE
"""

ALL = f"""
SELECT {COLUMNS} FROM tenant_extension_schedule s
{JOINS}
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid
ORDER BY s.created_at, s.id
"""

DISABLE_ALL = """
UPDATE tenant_extension_schedule s
SET enabled = false, job_id = NULL, runner_schedule_id = NULL, missing_endpoint = false,
  revision = coalesce(s.revision, 1) + 1, updated_at = $3::timestamptz
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid
  AND (s.enabled OR s.missing_endpoint)
RETURNING s.id
"""

REMOVE_TIMERS = """
DELETE FROM ext_scheduler.timers WHERE tenant_id = $1::text AND install_id = $2::uuid
"""

POINT = """
UPDATE tenant_extension_schedule s SET endpoint_id = w.endpoint_id
FROM unnest($3::uuid[], $4::uuid[]) AS w (id, endpoint_id)
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid AND s.id = w.id
"""

DISABLE_MISSING = """
UPDATE tenant_extension_schedule s
SET enabled = false, job_id = NULL, runner_schedule_id = NULL, missing_endpoint = true,
  last_error = $4::text, revision = coalesce(s.revision, 1) + 1, updated_at = $5::timestamptz
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid AND s.id = ANY ($3::uuid[])
"""

ENABLE_AGAIN = """
UPDATE tenant_extension_schedule s
SET enabled = true, job_id = s.id,
  runner_schedule_id = 'extsched:' || s.install_id::text || ':' || s.id::text,
  missing_endpoint = false, last_error = NULLIF(s.last_error, $4::text),
  revision = coalesce(s.revision, 1) + 1, updated_at = $5::timestamptz
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid AND s.id = ANY ($3::uuid[])
"""

DELETE_TIMERS = """
DELETE FROM ext_scheduler.timers
WHERE tenant_id = $1::text AND schedule_id = ANY ($2::uuid[])
"""

MISSING_ENDPOINT = "Disabled due to missing endpoint on extension update"


class Disabled(Struct, frozen=True):
    """The schedules that were enabled before, and how many rows were touched in all."""

    disabled: Sequence[UUID]
    touched: int


async def lock_all(connection: Connection, tenant_id: str, install_id: UUID) -> list[Schedule]:
    """Lock an install's schedules, and return them by creation time, then id."""
    await connection.fetch(LOCK, tenant_id, install_id)
    rows: list[asyncpg.Record] = await connection.fetch(ALL, tenant_id, install_id)
    return [schedule for row in rows if (schedule := from_columns(row)) is not None]


async def disable_all(
    connection: Connection, tenant_id: str, install_id: UUID, now: datetime
) -> Disabled:
    """Disable all schedules of an install, and none of them waits for its endpoint any more."""
    before = await lock_all(connection, tenant_id, install_id)
    enabled = [schedule.id for schedule in before if schedule.enabled]
    rows = await connection.fetch(DISABLE_ALL, tenant_id, install_id, now)
    await connection.execute(REMOVE_TIMERS, tenant_id, install_id)
    return Disabled(enabled, len(rows))


async def point(
    connection: Connection, tenant_id: str, install_id: UUID, targets: dict[UUID, UUID]
) -> None:
    """Point schedules at endpoints."""
    await connection.execute(POINT, tenant_id, install_id, list(targets), list(targets.values()))


async def disable_missing(
    connection: Connection, tenant_id: str, install_id: UUID, ids: list[UUID], now: datetime
) -> None:
    """Disable schedules that have lost their endpoint, marked so that they can come back."""
    await connection.execute(DISABLE_MISSING, tenant_id, install_id, ids, MISSING_ENDPOINT, now)
    await connection.execute(DELETE_TIMERS, tenant_id, ids)


async def enable_again(
    connection: Connection, tenant_id: str, install_id: UUID, ids: list[UUID], now: datetime
) -> None:
    """Enable schedules whose endpoint is back; their timers are the caller's to add."""
    await connection.execute(ENABLE_AGAIN, tenant_id, install_id, ids, MISSING_ENDPOINT, now)
