"""The rate window of manual runs: one for each tenant, over all of its installs."""

from collections.abc import Sequence
from datetime import datetime

from service.storage.engine.connection import Connection
from service.storage.records.admin_change import lock_text

READ = """
SELECT w.accepted FROM ext_scheduler.rate_windows w
WHERE w.tenant_id = $1::text AND w.scope = 'manual'
"""

STORE = """
INSERT INTO ext_scheduler.rate_windows (tenant_id, scope, accepted, updated_at)
VALUES ($1::text, 'manual', $2::timestamptz[], $3::timestamptz)
ON CONFLICT (tenant_id, scope) DO UPDATE
  SET accepted = excluded.accepted, updated_at = excluded.updated_at
"""


async def lock(connection: Connection, tenant_id: str) -> Sequence[datetime]:
    """Lock the rate window of a tenant; return the instants of its recent manual runs."""
    await lock_text(connection, f"{tenant_id}/manual")
    accepted: Sequence[datetime] | None = await connection.fetchval(READ, tenant_id)
    return accepted or ()


async def store(
    connection: Connection, tenant_id: str, accepted: Sequence[datetime], now: datetime
) -> None:
    """Store the instants of recent manual runs."""
    await connection.execute(STORE, tenant_id, accepted, now)
