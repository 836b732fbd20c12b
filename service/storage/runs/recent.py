"""The last runs of several schedules at once: a mark each, for lists."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection

RECENT = """
SELECT k.schedule_id, r.id, r.slot, r.status
FROM unnest($1::text[], $2::uuid[]) AS k (tenant_id, schedule_id)
CROSS JOIN LATERAL (
  SELECT r.id, r.slot, r.status FROM ext_scheduler.runs r
  WHERE r.tenant_id = k.tenant_id AND r.schedule_id = k.schedule_id
  ORDER BY r.slot DESC
  LIMIT $3::integer
) r
ORDER BY k.schedule_id, r.slot
"""


class RecentRun(Struct, frozen=True):
    """A run of a schedule, in short."""

    id: UUID
    slot: datetime
    status: str


async def load(
    connection: Connection, keys: Sequence[tuple[str, UUID]], count: int
) -> dict[UUID, list[RecentRun]]:
    """Return at most ``count`` runs of each schedule, oldest first, by schedule."""
    rows = await connection.fetch(
        RECENT, [tenant_id for tenant_id, _ in keys], [id_ for _, id_ in keys], count
    )
    recent: dict[UUID, list[RecentRun]] = {}
    for schedule_id, *run in rows:
        recent.setdefault(schedule_id, []).append(RecentRun(*run))
    return recent
