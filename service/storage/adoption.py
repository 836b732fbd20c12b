"""Enabled schedules that this service does not drive yet: found, and taken over."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from service.storage.connection import Connection

# Rows that another job runner drives, or none at all.
INSTALLS = """
SELECT DISTINCT s.tenant_id::text AS tenant_id, s.install_id
FROM tenant_extension_schedule s
WHERE s.enabled
  AND ($1::text IS NULL OR s.tenant_id = $1) AND ($2::uuid IS NULL OR s.install_id = $2)
  AND (s.job_id IS DISTINCT FROM s.id
    OR s.runner_schedule_id IS DISTINCT FROM 'extsched:' || s.install_id || ':' || s.id
    OR NOT EXISTS (
      SELECT FROM ext_scheduler.timers t
      WHERE t.tenant_id = s.tenant_id AND t.schedule_id = s.id))
"""

LOCK_INSTALLS = """
SELECT i.tenant_id::text AS tenant_id, i.id FROM tenant_extension_install i
WHERE i.tenant_id = ANY ($1::text[]) AND i.id = ANY ($2::uuid[])
ORDER BY i.id FOR NO KEY UPDATE
"""

STRANGERS = """
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id, s.cron, s.timezone,
  EXISTS (SELECT FROM ext_scheduler.timers t
    WHERE t.tenant_id = s.tenant_id AND t.schedule_id = s.id) AS timed
FROM tenant_extension_schedule s
WHERE s.enabled AND s.tenant_id = ANY ($1::text[]) AND s.install_id = ANY ($2::uuid[])
  AND (s.job_id IS DISTINCT FROM s.id
    OR s.runner_schedule_id IS DISTINCT FROM 'extsched:' || s.install_id || ':' || s.id
    OR NOT EXISTS (
      SELECT FROM ext_scheduler.timers t
      WHERE t.tenant_id = s.tenant_id AND t.schedule_id = s.id))
ORDER BY s.id
FOR NO KEY UPDATE OF s
"""

OWNERS = """
SELECT s.id, s.tenant_id::text AS tenant_id, s.install_id
FROM tenant_extension_schedule s
WHERE s.id = ANY ($1::uuid[]) AND ($2::text IS NULL OR s.tenant_id = $2)
"""


class Stranger(Struct, frozen=True):
    """An enabled schedule that is not driven by this service; others may have written anything."""

    tenant_id: str
    id: UUID
    install_id: UUID
    cron: str | None
    timezone: str | None
    timed: bool


Key = tuple[str, UUID]
"""Tenant and install, or tenant and schedule."""


async def installs_with_strangers(
    connection: Connection, tenant_id: str | None, install_id: UUID | None
) -> list[Key]:
    """Return the installs, (tenant, id), that have such schedules; unlocked."""
    rows = await connection.fetch(INSTALLS, tenant_id, install_id)
    return [(row["tenant_id"], row["install_id"]) for row in rows]


async def lock_installs(connection: Connection, keys: Sequence[Key]) -> set[Key]:
    """Lock installs in one order, as their own changes do; return those that there are."""
    rows = await connection.fetch(LOCK_INSTALLS, _tenants(keys), [key[1] for key in keys])
    return {(row["tenant_id"], row["id"]) for row in rows}


async def strangers(connection: Connection, installs: Sequence[Key]) -> list[Stranger]:
    """Lock and return such schedules of these installs, by id."""
    rows = await connection.fetch(STRANGERS, _tenants(installs), [key[1] for key in installs])
    return [Stranger(*row) for row in rows]


async def owners(
    connection: Connection, tenant_id: str | None, schedule_ids: Sequence[UUID]
) -> dict[UUID, Key]:
    """Return tenant and install of those of these schedules that there are."""
    rows = await connection.fetch(OWNERS, schedule_ids, tenant_id)
    return {row["id"]: (row["tenant_id"], row["install_id"]) for row in rows}


def _tenants(keys: Sequence[Key]) -> list[str]:
    return sorted({tenant_id for tenant_id, _ in keys})
