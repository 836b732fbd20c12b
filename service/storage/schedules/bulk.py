"""Changes to many schedules of a locked install in one statement."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules import timers
from service.storage.schedules.disabling import disable
from service.storage.schedules.rows import COLUMNS, JOINS, Schedule, from_columns

# Rows are locked in the order in which run results lock them: the two cannot deadlock.
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

SET_ENDPOINTS = """
UPDATE tenant_extension_schedule s SET endpoint_id = w.endpoint_id
FROM unnest($3::uuid[], $4::uuid[]) AS w (id, endpoint_id)
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid AND s.id = w.id
"""

REENABLE = """
UPDATE tenant_extension_schedule s
SET enabled = true, job_id = s.id,
  runner_schedule_id = 'extsched:' || s.install_id::text || ':' || s.id::text,
  failures = NULL, failing_since = NULL, disabled_after = NULL,
  missing_endpoint = false, last_error = NULLIF(s.last_error, $4::text),
  revision = coalesce(s.revision, 1) + 1, updated_at = $5::timestamptz
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid AND s.id = ANY ($3::uuid[])
"""

MISSING_ENDPOINT = "Disabled due to missing endpoint on extension update"


class Disabled(Struct, frozen=True):
    """The schedules that were enabled before, and the number of rows changed in all.

    ``left`` are those that another job runner drives.
    """

    disabled: Sequence[UUID]
    touched: int
    left: Sequence[Schedule]


async def lock_all(connection: Connection, tenant_id: str, install_id: UUID) -> list[Schedule]:
    """Lock an install's schedules, and return them by creation time, then id."""
    await connection.fetch(LOCK, tenant_id, install_id)
    rows: list[asyncpg.Record] = await connection.fetch(ALL, tenant_id, install_id)
    return [schedule for row in rows if (schedule := from_columns(row)) is not None]


async def disable_all(
    connection: Connection, tenant_id: str, install_id: UUID, now: datetime
) -> Disabled:
    """Disable an install's schedules, and clear their marks of a missing endpoint.

    Those of other job runners are left as they are.
    """
    locked = await lock_all(connection, tenant_id, install_id)
    stored = [schedule for schedule in locked if not schedule.driven_by_other]
    errors = {
        (tenant_id, schedule.id): None
        for schedule in stored
        if schedule.enabled or schedule.missing_endpoint
    }
    touched = await disable(connection, errors, now, missing_endpoint=False)
    await timers.remove_of_installs(connection, tenant_id, [install_id])
    return Disabled(
        [schedule.id for schedule in stored if schedule.enabled],
        len(touched),
        [schedule for schedule in locked if schedule.driven_by_other],
    )


async def set_endpoints(
    connection: Connection, tenant_id: str, install_id: UUID, targets: dict[UUID, UUID]
) -> None:
    """Set the endpoints of schedules, id → endpoint id."""
    await connection.execute(
        SET_ENDPOINTS, tenant_id, install_id, list(targets), list(targets.values())
    )


async def disable_missing(
    connection: Connection, tenant_id: str, ids: Sequence[UUID], now: datetime
) -> None:
    """Disable schedules without an endpoint, marked to be enabled when it exists again."""
    errors = {(tenant_id, id_): MISSING_ENDPOINT for id_ in ids}
    await disable(connection, errors, now, missing_endpoint=True)


async def reenable(
    connection: Connection, tenant_id: str, install_id: UUID, ids: list[UUID], now: datetime
) -> None:
    """Enable schedules whose endpoint exists again; the caller adds their timers."""
    await connection.execute(REENABLE, tenant_id, install_id, ids, MISSING_ENDPOINT, now)
