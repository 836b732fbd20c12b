"""Assignment of tenants to Runner pools."""

from collections.abc import Sequence
from datetime import datetime

from service.storage.engine.connection import Connection

ASSIGN = """
INSERT INTO ext_scheduler.tenant_pools AS p (tenant_id, pool, assigned_at, assigned_by)
VALUES ($1::text, $2::text, $3::timestamptz, $4::text)
ON CONFLICT (tenant_id) DO UPDATE
SET pool = excluded.pool, assigned_at = excluded.assigned_at, assigned_by = excluded.assigned_by
WHERE p.pool <> excluded.pool
"""

UNASSIGN = "DELETE FROM ext_scheduler.tenant_pools WHERE tenant_id = $1::text"

ASSIGNED = """
SELECT p.tenant_id FROM ext_scheduler.tenant_pools p
WHERE p.tenant_id > $1::text ORDER BY p.tenant_id LIMIT $2::integer
"""

POOLS = """
SELECT p.tenant_id, p.pool FROM ext_scheduler.tenant_pools p
WHERE p.tenant_id = ANY ($1::text[])
"""


async def assign(
    connection: Connection, tenant_id: str, pool: str | None, now: datetime, by: str
) -> bool:
    """Assign a tenant to a pool, None for the default one; return whether that changed anything."""
    if pool is None:
        tag = await connection.execute(UNASSIGN, tenant_id)
    else:
        tag = await connection.execute(ASSIGN, tenant_id, pool, now, by)
    return not tag.endswith(" 0")


async def assigned(connection: Connection, after: str, limit: int) -> list[str]:
    """Return at most ``limit`` tenants that are assigned to a pool, after one, by id."""
    return [row[0] for row in await connection.fetch(ASSIGNED, after, limit)]


async def pools_of(connection: Connection, tenant_ids: Sequence[str]) -> dict[str, str]:
    """Return the pools of these tenants, without those that are assigned to none."""
    return {row[0]: row[1] for row in await connection.fetch(POOLS, tenant_ids)}
