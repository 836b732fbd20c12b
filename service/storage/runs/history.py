"""Run records by keyset, newest first: a page costs the same however much history there is."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.engine.keyset import EARLIEST, LATEST, NEWEST

COLUMNS = """
  r.id, r.tenant_id, r.install_id, r.schedule_id, r.slot, r.kind, r.trigger, r.status, r.attempts,
  r.queued_at, r.started_at, r.finished_at, r.duration_ms, r.http_status, r.error, r.missed,
  r.worker
"""

# The bounds on the slot alone are what the index takes; the pair then cuts within one slot.
_PAGE = """
  r.slot >= $4::timestamptz AND r.slot <= $1::timestamptz AND (r.slot, r.id) < ($1, $2::uuid)
  AND r.slot <= $5::timestamptz AND ($3::text IS NULL OR r.status = $3)
ORDER BY r.slot DESC, r.id DESC
LIMIT $6::integer
"""

OF_SCHEDULE = f"""
SELECT {COLUMNS} FROM ext_scheduler.runs r
WHERE r.tenant_id = $7::text AND r.schedule_id = $8::uuid AND {_PAGE}
"""

OF_INSTALL = f"""
SELECT {COLUMNS} FROM ext_scheduler.runs r
WHERE r.tenant_id = $7::text AND r.install_id = $8::uuid AND {_PAGE}
"""

OF_TENANT = f"""
SELECT {COLUMNS} FROM ext_scheduler.runs r
WHERE r.tenant_id = $7::text AND {_PAGE}
"""

OF_ALL = f"SELECT {COLUMNS} FROM ext_scheduler.runs r WHERE {_PAGE}"


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
    """Which runs: of a schedule where one is given, else of an install, a tenant, or all.

    ``since`` and ``until`` bound the slot, both inclusive.
    """

    tenant_id: str | None
    schedule_id: UUID | None = None
    install_id: UUID | None = None
    status: str | None = None
    since: datetime = EARLIEST
    until: datetime = LATEST
    after: tuple[datetime, UUID] = NEWEST


async def page(connection: Connection, filter_: RunFilter, limit: int) -> list[RunRow]:
    """Return at most ``limit`` runs, newest first."""
    statement, owner = _statement(filter_)
    rows = await connection.fetch(
        statement,
        *filter_.after,
        filter_.status,
        filter_.since,
        filter_.until,
        limit,
        *owner,
    )
    return [RunRow(*row) for row in rows]


def _statement(filter_: RunFilter) -> tuple[str, tuple[object, ...]]:
    """Return the statement for a filter, and the parameters that say whose runs."""
    tenant_id = filter_.tenant_id
    if tenant_id is None:
        return OF_ALL, ()
    if filter_.schedule_id is not None:
        return OF_SCHEDULE, (tenant_id, filter_.schedule_id)
    if filter_.install_id is not None:
        return OF_INSTALL, (tenant_id, filter_.install_id)
    return OF_TENANT, (tenant_id,)
