"""Switches of a whole tenant or install: on, off, paused."""

from datetime import datetime
from uuid import UUID

from service.storage.engine.connection import Connection
from service.storage.schedules.timers import Timer

# 'enabled' is the one status that counts; switching on sets it, switching off leaves it as it is.
SET_ENABLED = """
UPDATE tenant_extension_install SET is_enabled = $3::boolean, updated_at = $4::timestamptz,
  status = CASE WHEN $3 THEN 'enabled' ELSE status END
WHERE tenant_id = $1::text AND id = $2::uuid
"""

PAUSE = """
INSERT INTO ext_scheduler.tenant_pauses (tenant_id, paused_at, paused_by)
VALUES ($1::text, $2::timestamptz, $3::text)
ON CONFLICT (tenant_id) DO NOTHING
"""

RESUME = "DELETE FROM ext_scheduler.tenant_pauses WHERE tenant_id = $1::text"

# Slots that went by while nothing might fire, and that no planner has moved on from yet.
OVERDUE = """
SELECT tenant_id, schedule_id, install_id, cron, timezone, due_at, missed
FROM ext_scheduler.timers
WHERE tenant_id = $1::text AND ($2::uuid IS NULL OR install_id = $2)
  AND due_at <= $3::timestamptz
ORDER BY schedule_id
FOR UPDATE
"""


async def set_enabled(
    connection: Connection, tenant_id: str, install_id: UUID, enabled: bool, now: datetime
) -> None:
    """Switch an install on or off."""
    await connection.execute(SET_ENABLED, tenant_id, install_id, enabled, now)


async def set_paused(
    connection: Connection, tenant_id: str, paused: bool, now: datetime, by: str
) -> bool:
    """Pause a tenant or lift its pause; tell whether that changed anything."""
    if paused:
        tag = await connection.execute(PAUSE, tenant_id, now, by)
    else:
        tag = await connection.execute(RESUME, tenant_id)
    return not tag.endswith(" 0")


async def overdue(
    connection: Connection, tenant_id: str, install_id: UUID | None, now: datetime
) -> list[Timer]:
    """Lock and return the timers of a tenant, or of one install, that are due."""
    return [Timer(*row) for row in await connection.fetch(OVERDUE, tenant_id, install_id, now)]
