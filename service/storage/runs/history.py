"""Run records by keyset, newest first: a page costs the same however much history there is."""

from datetime import datetime
from uuid import UUID

import msgspec
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

LATEST = """
SELECT id, slot, kind, trigger, status, attempts, missed, queued_at, started_at, finished_at,
       duration_ms, http_status, error, worker
FROM ext_scheduler.runs
WHERE tenant_id = $1::text AND install_id = $2::uuid AND schedule_id = $3::uuid
ORDER BY slot DESC, id
LIMIT $4::integer
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


class Run(Struct, frozen=True):
    """One occurrence; instants in UTC, ``http_status`` and ``error`` of its last attempt."""

    id: UUID
    slot: datetime
    kind: str
    trigger: str
    status: str
    attempts: int
    missed: int
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    http_status: int | None
    error: str | None
    worker: str | None


class Wanted(Struct, frozen=True, kw_only=True):
    """Whose runs: of a schedule where one is given, else of an install."""

    tenant_id: str
    schedule_id: UUID | None
    install_id: UUID | None
    status: str | None
    after: tuple[datetime, UUID] = NEWEST


async def page(connection: Connection, wanted: Wanted, limit: int) -> list[RunRow]:
    """Return at most ``limit`` runs, newest first."""
    by_schedule = wanted.schedule_id is not None
    rows = await connection.fetch(
        OF_SCHEDULE if by_schedule else OF_INSTALL,
        wanted.tenant_id,
        wanted.schedule_id if by_schedule else wanted.install_id,
        *wanted.after,
        wanted.status,
        limit,
    )
    return [RunRow(*row) for row in rows]


async def latest(
    connection: Connection, tenant_id: str, install_id: UUID, schedule_id: UUID, limit: int
) -> list[Run]:
    """Return the last runs of a schedule, newest first."""
    rows = await connection.fetch(LATEST, tenant_id, install_id, schedule_id, limit)
    return [msgspec.convert(dict(row), Run) for row in rows]
