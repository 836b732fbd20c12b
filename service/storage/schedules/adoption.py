"""Enabled schedules that this service does not drive yet: found, and adopted.

Locks are taken tenant by tenant: no statement locks rows of several nodes.
"""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection

# Schedules that another job runner drives, or none at all.
INSTALLS = """
SELECT DISTINCT s.tenant_id::text AS tenant_id, s.install_id
FROM tenant_extension_schedule s
LEFT JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
WHERE s.enabled
  AND ($1::text IS NULL OR s.tenant_id = $1) AND ($2::uuid IS NULL OR s.install_id = $2)
  AND (s.job_id IS DISTINCT FROM s.id
    OR s.runner_schedule_id
      IS DISTINCT FROM 'extsched:' || s.install_id::text || ':' || s.id::text
    OR t.schedule_id IS NULL)
"""

LOCK_INSTALLS = """
SELECT i.tenant_id::text AS tenant_id, i.id FROM tenant_extension_install i
WHERE i.tenant_id = $1::text AND i.id = ANY ($2::uuid[])
ORDER BY i.id FOR NO KEY UPDATE
"""

ENABLED = """
SELECT s.id, s.install_id, s.cron, s.timezone,
  (s.job_id = s.id
    AND s.runner_schedule_id = 'extsched:' || s.install_id::text || ':' || s.id::text) AS owned
FROM tenant_extension_schedule s
WHERE s.enabled AND s.tenant_id = $1::text AND s.install_id = ANY ($2::uuid[])
ORDER BY s.id
FOR NO KEY UPDATE
"""

TIMED = """
SELECT t.schedule_id FROM ext_scheduler.timers t
WHERE t.tenant_id = $1::text AND t.schedule_id = ANY ($2::uuid[])
"""

OWNERS = """
SELECT s.id, s.tenant_id::text AS tenant_id, s.install_id
FROM tenant_extension_schedule s
WHERE s.id = ANY ($1::uuid[]) AND ($2::text IS NULL OR s.tenant_id = $2)
"""


class UnmanagedSchedule(Struct, frozen=True):
    """An enabled schedule that this service does not drive; cron and timezone may hold anything."""

    tenant_id: str
    id: UUID
    install_id: UUID
    cron: str | None
    timezone: str | None
    timed: bool


TenantKey = tuple[str, UUID]
"""Tenant and install, or tenant and schedule."""


async def installs_with_unmanaged(
    connection: Connection, tenant_id: str | None, install_id: UUID | None
) -> list[TenantKey]:
    """Return the installs, (tenant, id), that have unmanaged schedules, without locking them."""
    rows = await connection.fetch(INSTALLS, tenant_id, install_id)
    return [(row["tenant_id"], row["install_id"]) for row in rows]


async def lock_installs(connection: Connection, keys: Sequence[TenantKey]) -> set[TenantKey]:
    """Lock installs in the order in which all changes lock them; return those that exist."""
    locked: set[TenantKey] = set()
    for tenant_id, ids in _by_tenant(keys):
        rows = await connection.fetch(LOCK_INSTALLS, tenant_id, ids)
        locked.update((row["tenant_id"], row["id"]) for row in rows)
    return locked


async def unmanaged_schedules(
    connection: Connection, installs: Sequence[TenantKey]
) -> list[UnmanagedSchedule]:
    """Return the unmanaged schedules of installs, by tenant and id; lock all enabled ones."""
    unmanaged: list[UnmanagedSchedule] = []
    for tenant_id, ids in _by_tenant(installs):
        rows = await connection.fetch(ENABLED, tenant_id, ids)
        times = await connection.fetch(TIMED, tenant_id, [row["id"] for row in rows])
        timed = {row["schedule_id"] for row in times}
        unmanaged += [
            UnmanagedSchedule(
                tenant_id=tenant_id,
                id=row["id"],
                install_id=row["install_id"],
                cron=row["cron"],
                timezone=row["timezone"],
                timed=row["id"] in timed,
            )
            for row in rows
            if not (row["owned"] and row["id"] in timed)
        ]
    return unmanaged


async def owners(
    connection: Connection, tenant_id: str | None, schedule_ids: Sequence[UUID]
) -> dict[UUID, TenantKey]:
    """Return (tenant, install) of those of these schedules that exist."""
    rows = await connection.fetch(OWNERS, schedule_ids, tenant_id)
    return {row["id"]: (row["tenant_id"], row["install_id"]) for row in rows}


def _by_tenant(keys: Sequence[TenantKey]) -> list[tuple[str, list[UUID]]]:
    ids = defaultdict(list)
    for tenant_id, id_ in keys:
        ids[tenant_id].append(id_)
    return sorted(ids.items())
