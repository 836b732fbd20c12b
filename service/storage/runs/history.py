"""Run records by keyset, newest first: a page costs the same however much history there is."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.engine.keyset import NEWEST

COLUMNS = """
  r.id, r.tenant_id, r.install_id, r.schedule_id, r.slot, r.kind, r.trigger, r.status, r.attempts,
  r.queued_at, r.started_at, r.finished_at, r.duration_ms, r.http_status, r.error, r.missed,
  r.worker
"""

# The bound on the slot alone is what the index takes; the pair then cuts within one slot.
_AFTER = "r.slot <= $3::timestamptz AND (r.slot, r.id) < ($3, $4::uuid)"

OF_SCHEDULE = f"""
SELECT {COLUMNS} FROM ext_scheduler.runs r
WHERE r.tenant_id = $1::text AND r.schedule_id = $2::uuid AND {_AFTER}
  AND ($5::text IS NULL OR r.status = $5)
ORDER BY r.slot DESC, r.id DESC
LIMIT $6::integer
"""

OF_INSTALL = f"""
SELECT {COLUMNS} FROM ext_scheduler.runs r
WHERE r.tenant_id = $1::text AND r.install_id = $2::uuid AND {_AFTER}
  AND ($5::text IS NULL OR r.status = $5)
ORDER BY r.slot DESC, r.id DESC
LIMIT $6::integer
"""


class RunRow(Struct, frozen=True):
    """A run record, times in UTC."""

    id: UUID
    tenant_id: str
    install_id: UUID
    schedule_id: UUID
    slot: datetime
    kind: str
    trigger: str
    status: str
    attempts: int
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    http_status: int | None
    error: str | None
    missed: int
    worker: str | None


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs: of a schedule where one is given, else of an install."""

    tenant_id: str
    schedule_id: UUID | None = None
    install_id: UUID | None = None
    status: str | None = None
    after: tuple[datetime, UUID] = NEWEST


async def page(connection: Connection, filter_: RunFilter, limit: int) -> list[RunRow]:
    """Return at most ``limit`` runs, newest first."""
    by_schedule = filter_.schedule_id is not None
    rows = await connection.fetch(
        OF_SCHEDULE if by_schedule else OF_INSTALL,
        filter_.tenant_id,
        filter_.schedule_id if by_schedule else filter_.install_id,
        *filter_.after,
        filter_.status,
        limit,
    )
    return [RunRow(*row) for row in rows]
