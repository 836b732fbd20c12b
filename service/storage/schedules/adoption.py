"""Schedules that this service does not drive yet, found and adopted; and given back.

Locks are taken tenant by tenant: no statement locks rows of several nodes.
"""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules import timers
from service.storage.schedules.ownership import DRIVEN_BY_OTHER

# Schedules that another job runner drives, or none at all.
INSTALLS = f"""
SELECT DISTINCT s.tenant_id::text AS tenant_id, s.install_id
FROM tenant_extension_schedule s
LEFT JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
WHERE ($1::text IS NULL OR s.tenant_id = $1) AND ($2::uuid IS NULL OR s.install_id = $2)
  AND ({DRIVEN_BY_OTHER} OR s.enabled
    AND (s.job_id IS NULL OR s.runner_schedule_id IS NULL OR t.schedule_id IS NULL))
"""

COUNT_DRIVEN_BY_OTHER = f"""
SELECT count(*) FROM tenant_extension_schedule s WHERE {DRIVEN_BY_OTHER}
"""

LOCK_INSTALLS = """
SELECT i.tenant_id::text AS tenant_id, i.id FROM tenant_extension_install i
WHERE i.tenant_id = $1::text AND i.id = ANY ($2::uuid[])
ORDER BY i.id FOR NO KEY UPDATE
"""

FOUND = f"""
SELECT s.id, s.install_id, s.cron, s.timezone, coalesce(s.enabled, false) AS enabled,
  s.job_id, s.runner_schedule_id, {DRIVEN_BY_OTHER} AS driven_by_other
FROM tenant_extension_schedule s
WHERE (s.enabled OR {DRIVEN_BY_OTHER}) AND s.tenant_id = $1::text
  AND s.install_id = ANY ($2::uuid[])
ORDER BY s.id
FOR NO KEY UPDATE
"""

TIMED = """
SELECT t.schedule_id FROM ext_scheduler.timers t
WHERE t.tenant_id = $1::text AND t.schedule_id = ANY ($2::uuid[])
"""

OWNED_INSTALLS = f"""
SELECT DISTINCT s.tenant_id::text AS tenant_id, s.install_id
FROM tenant_extension_schedule s
WHERE ($1::text IS NULL OR s.tenant_id = $1) AND ($2::uuid IS NULL OR s.install_id = $2)
  AND ($3::uuid IS NULL OR s.id = $3) AND NOT {DRIVEN_BY_OTHER}
"""

RELEASE = f"""
UPDATE tenant_extension_schedule s
SET job_id = NULL, runner_schedule_id = NULL, released = true
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid AND ($3::uuid IS NULL OR s.id = $3)
  AND NOT {DRIVEN_BY_OTHER}
RETURNING s.id
"""

HANDLES = f"""
SELECT s.id, s.job_id, s.runner_schedule_id FROM tenant_extension_schedule s
WHERE s.tenant_id = $1::text AND s.install_id = ANY ($2::uuid[]) AND {DRIVEN_BY_OTHER}
  AND (s.job_id IS NOT NULL OR s.runner_schedule_id IS NOT NULL)
ORDER BY s.id
"""

OWNERS = """
SELECT s.id, s.tenant_id::text AS tenant_id, s.install_id
FROM tenant_extension_schedule s
WHERE s.id = ANY ($1::uuid[]) AND ($2::text IS NULL OR s.tenant_id = $2)
"""


class RunnerHandle(Struct, frozen=True):
    """By what a job runner knows a schedule."""

    schedule_id: UUID
    job_id: UUID | None
    runner_schedule_id: str | None


class UnmanagedSchedule(Struct, frozen=True):
    """A schedule that this service does not drive; cron and timezone may hold anything.

    ``handle`` is the one of the job runner that does, if any.
    """

    tenant_id: str
    id: UUID
    install_id: UUID
    cron: str | None
    timezone: str | None
    enabled: bool
    timed: bool
    driven_by_other: bool
    handle: RunnerHandle


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
    """Return the unmanaged schedules of installs, by tenant and id, and lock them."""
    unmanaged: list[UnmanagedSchedule] = []
    for tenant_id, ids in _by_tenant(installs):
        rows = await connection.fetch(FOUND, tenant_id, ids)
        times = await connection.fetch(TIMED, tenant_id, [row["id"] for row in rows])
        timed = {row["schedule_id"] for row in times}
        unmanaged += [
            UnmanagedSchedule(
                tenant_id=tenant_id,
                id=row["id"],
                install_id=row["install_id"],
                cron=row["cron"],
                timezone=row["timezone"],
                enabled=row["enabled"],
                timed=row["id"] in timed,
                driven_by_other=row["driven_by_other"],
                handle=RunnerHandle(row["id"], row["job_id"], row["runner_schedule_id"]),
            )
            for row in rows
            if row["driven_by_other"]
            or row["job_id"] is None
            or row["runner_schedule_id"] is None
            or row["id"] not in timed
        ]
    return unmanaged


async def owned_installs(
    connection: Connection, tenant_id: str | None, install_id: UUID | None, schedule_id: UUID | None
) -> list[TenantKey]:
    """Return the installs, (tenant, id), of which this service drives schedules in scope."""
    rows = await connection.fetch(OWNED_INSTALLS, tenant_id, install_id, schedule_id)
    return [(row["tenant_id"], row["install_id"]) for row in rows]


async def release(
    connection: Connection, install: TenantKey, schedule_id: UUID | None
) -> list[UUID]:
    """Give an install's schedules, or one, back without handle and timer; return those that are."""
    tenant_id, install_id = install
    rows = await connection.fetch(RELEASE, tenant_id, install_id, schedule_id)
    ids = sorted(row["id"] for row in rows)
    await timers.remove(connection, [(tenant_id, id_) for id_ in ids])
    return ids


async def handles(
    connection: Connection, tenant_id: str, install_ids: Sequence[UUID]
) -> list[RunnerHandle]:
    """Return the handles by which other job runners drive schedules of installs, by id."""
    return [RunnerHandle(*row) for row in await connection.fetch(HANDLES, tenant_id, install_ids)]


async def owners(
    connection: Connection, tenant_id: str | None, schedule_ids: Sequence[UUID]
) -> dict[UUID, TenantKey]:
    """Return (tenant, install) of these schedules, without those that do not exist."""
    rows = await connection.fetch(OWNERS, schedule_ids, tenant_id)
    return {row["id"]: (row["tenant_id"], row["install_id"]) for row in rows}


def _by_tenant(keys: Sequence[TenantKey]) -> list[tuple[str, list[UUID]]]:
    ids = defaultdict(list)
    for tenant_id, id_ in keys:
        ids[tenant_id].append(id_)
    return sorted(ids.items())


async def count_driven_by_other(connection: Connection) -> int:
    """Return how many schedules another job runner drives."""
    count: int = await connection.fetchval(COUNT_DRIVEN_BY_OTHER)
    return count
