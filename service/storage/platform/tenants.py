"""Tenants: those that are known here, in pages, and what each of them has."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.platform import runner_pools

HAS_INSTALL = "SELECT EXISTS (SELECT FROM tenant_extension_install WHERE tenant_id = $1::text)"
HAS_AUDIT = "SELECT EXISTS (SELECT FROM ext_scheduler.audit WHERE tenant_id = $1::text)"
HAS_PAUSE = "SELECT EXISTS (SELECT FROM ext_scheduler.tenant_pauses WHERE tenant_id = $1::text)"
HAS_SCHEDULE = "SELECT EXISTS (SELECT FROM tenant_extension_schedule WHERE tenant_id = $1::text)"
HAS_RUN = "SELECT EXISTS (SELECT FROM ext_scheduler.runs WHERE tenant_id = $1::text)"

WITH_INSTALLS = """
SELECT DISTINCT i.tenant_id::text AS tenant_id FROM tenant_extension_install i
WHERE i.tenant_id > $1::text ORDER BY 1 LIMIT $2::integer
"""

PAUSED = """
SELECT p.tenant_id FROM ext_scheduler.tenant_pauses p
WHERE p.tenant_id > $1::text ORDER BY p.tenant_id LIMIT $2::integer
"""

PAUSES = """
SELECT p.tenant_id, p.paused_at, p.paused_by, p.reason FROM ext_scheduler.tenant_pauses p
WHERE p.tenant_id = ANY ($1::text[])
"""

INSTALL_COUNTS = """
SELECT i.tenant_id::text AS tenant_id, count(*),
  count(*) FILTER (WHERE i.is_enabled AND i.status = 'enabled')
FROM tenant_extension_install i
WHERE i.tenant_id = ANY ($1::text[]) GROUP BY i.tenant_id
"""

SCHEDULE_COUNTS = """
SELECT s.tenant_id::text AS tenant_id, count(*), count(*) FILTER (WHERE s.enabled)
FROM tenant_extension_schedule s
WHERE s.tenant_id = ANY ($1::text[]) GROUP BY s.tenant_id
"""


class Pause(Struct, frozen=True):
    """A tenant's pause: since when, by whom, and why."""

    paused_at: datetime
    paused_by: str
    reason: str | None


class Tenant(Struct, frozen=True):
    """A tenant with the numbers of its installs and schedules.

    ``pause`` is None while it fires, ``runner_pool`` in the default pool.
    """

    id: str
    installs: int
    enabled_installs: int
    schedules: int
    enabled_schedules: int
    pause: Pause | None
    runner_pool: str | None


async def is_known(connection: Connection, tenant_id: str) -> bool:
    """Return whether a tenant has an install, or left anything here."""
    # One by one, the likeliest first: on several nodes these tables cannot all be read together.
    for statement in (HAS_INSTALL, HAS_AUDIT, HAS_PAUSE, HAS_SCHEDULE, HAS_RUN):
        if await connection.fetchval(statement, tenant_id):
            return True
    return False


async def page(
    connection: Connection, after: str, limit: int, *, paused: bool | None = None
) -> list[Tenant]:
    """Return at most ``limit`` tenants after one, by id: with an install, paused, or in a pool."""
    ids: set[str] = set()
    if paused is not True:
        ids |= {row[0] for row in await connection.fetch(WITH_INSTALLS, after, limit)}
        ids |= set(await runner_pools.assigned(connection, after, limit))
    if paused is not False:
        ids |= {row[0] for row in await connection.fetch(PAUSED, after, limit)}
    return await load(connection, sorted(ids)[:limit])


async def load(connection: Connection, tenant_ids: Sequence[str]) -> list[Tenant]:
    """Return these tenants in the given order."""
    pauses = await pauses_of(connection, tenant_ids)
    pools = await runner_pools.pools_of(connection, tenant_ids)
    installs = {
        row[0]: (row[1], row[2]) for row in await connection.fetch(INSTALL_COUNTS, tenant_ids)
    }
    schedules = {
        row[0]: (row[1], row[2]) for row in await connection.fetch(SCHEDULE_COUNTS, tenant_ids)
    }
    return [
        Tenant(
            id_,
            *installs.get(id_, (0, 0)),
            *schedules.get(id_, (0, 0)),
            pauses.get(id_),
            pools.get(id_),
        )
        for id_ in tenant_ids
    ]


async def pauses_of(connection: Connection, tenant_ids: Sequence[str]) -> dict[str, Pause]:
    """Return the pauses of these tenants, without those that are not paused."""
    rows = await connection.fetch(PAUSES, tenant_ids)
    return {row[0]: Pause(row[1], row[2], row[3]) for row in rows}
