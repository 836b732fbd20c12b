"""Switches of a whole tenant or install: on, off, paused."""

from datetime import datetime
from uuid import UUID

from service.storage.engine.connection import Connection

# Only the status 'enabled' fires: enabling sets it, disabling leaves it unchanged.
SET_ENABLED = """
UPDATE tenant_extension_install SET is_enabled = $3::boolean, updated_at = $4::timestamptz,
  status = CASE WHEN $3 THEN 'enabled' ELSE status END
WHERE tenant_id = $1::text AND id = $2::uuid
"""

PAUSE = """
INSERT INTO ext_scheduler.tenant_pauses AS p (tenant_id, paused_at, paused_by, reason)
VALUES ($1::text, $2::timestamptz, $3::text, $4::text)
ON CONFLICT (tenant_id) DO UPDATE SET reason = excluded.reason
WHERE excluded.reason IS NOT NULL AND p.reason IS DISTINCT FROM excluded.reason
"""

RESUME = "DELETE FROM ext_scheduler.tenant_pauses WHERE tenant_id = $1::text"


async def set_enabled(
    connection: Connection, tenant_id: str, install_id: UUID, enabled: bool, now: datetime
) -> None:
    """Enable or disable an install."""
    await connection.execute(SET_ENABLED, tenant_id, install_id, enabled, now)


async def set_paused(
    connection: Connection,
    tenant_id: str,
    paused: bool,
    now: datetime,
    by: str,
    reason: str | None = None,
) -> bool:
    """Pause or resume a tenant; return whether that changed anything.

    A tenant that is paused already stays so since then; a reason replaces the one it has.
    """
    if paused:
        tag = await connection.execute(PAUSE, tenant_id, now, by, reason)
    else:
        tag = await connection.execute(RESUME, tenant_id)
    return not tag.endswith(" 0")
