"""Run records, read for people."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from service.storage.engine.connection import Connection

LATEST = """
SELECT id, slot, kind, trigger, status, attempts, missed, queued_at, started_at, finished_at,
       duration_ms, http_status, error, worker
FROM ext_scheduler.runs
WHERE tenant_id = $1::text AND install_id = $2::uuid AND schedule_id = $3::uuid
ORDER BY slot DESC, id
LIMIT $4::integer
"""


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


async def latest(
    connection: Connection, tenant_id: str, install_id: UUID, schedule_id: UUID, limit: int
) -> list[Run]:
    """Return the last runs of a schedule, newest first."""
    rows = await connection.fetch(LATEST, tenant_id, install_id, schedule_id, limit)
    return [msgspec.convert(dict(row), Run) for row in rows]
