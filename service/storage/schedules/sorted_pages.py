"""Schedules by their next run, or by their last one."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.engine.keyset import EARLIEST, LATEST
from service.storage.schedules import admin_search
from service.storage.schedules.admin_search import OwnedSchedule

_NEXT = """
SELECT t.tenant_id, t.schedule_id, t.due_at FROM ext_scheduler.timers t
WHERE t.due_at >= $1::timestamptz
  AND (t.due_at, t.tenant_id, t.schedule_id) > ($1, $2::text, $3::uuid)
  AND ($4::uuid IS NULL OR t.install_id = $4) {scope}
ORDER BY t.due_at, t.tenant_id, t.schedule_id
LIMIT $5::integer
"""
NEXT_OF_ALL = _NEXT.format(scope="")
NEXT_OF_TENANT = _NEXT.format(scope="AND t.tenant_id = $6::text")

# An index would have every run of a schedule write to it; a tenant has few enough to be sorted.
LAST_OF_TENANT = """
SELECT s.tenant_id::text, s.id, s.last_run_at FROM tenant_extension_schedule s
WHERE s.tenant_id = $6::text AND ($4::uuid IS NULL OR s.install_id = $4)
  AND (s.last_run_at, s.tenant_id, s.id) < ($1::timestamptz, $2::text, $3::uuid)
ORDER BY s.last_run_at DESC, s.id DESC
LIMIT $5::integer
"""

SortKey = tuple[datetime, str, UUID]


class SortedPage(Struct, frozen=True):
    """A page, and the key of its last row; None on the last page."""

    schedules: list[OwnedSchedule]
    after: SortKey | None


async def by_next_run(
    connection: Connection,
    tenant_id: str | None,
    install_id: UUID | None,
    after: SortKey | None,
    limit: int,
) -> SortedPage:
    """Return at most ``limit`` schedules that will run, the soonest first."""
    key = after or (EARLIEST, "", UUID(int=0))
    if tenant_id is None:
        return await _page(connection, NEXT_OF_ALL, *key, install_id, limit)
    return await _page(connection, NEXT_OF_TENANT, *key, install_id, limit, tenant_id)


async def by_last_run(
    connection: Connection,
    tenant_id: str,
    install_id: UUID | None,
    after: SortKey | None,
    limit: int,
) -> SortedPage:
    """Return at most ``limit`` schedules of a tenant that have run, the latest first."""
    key = after or (LATEST, tenant_id, UUID(int=0))
    return await _page(connection, LAST_OF_TENANT, *key, install_id, limit, tenant_id)


async def _page(connection: Connection, statement: str, *values: object) -> SortedPage:
    limit = values[4]
    rows = await connection.fetch(statement, *values)
    schedules = await admin_search.several(connection, [(str(row[0]), row[1]) for row in rows])
    last = (rows[-1][2], str(rows[-1][0]), rows[-1][1]) if len(rows) == limit else None
    return SortedPage(schedules, last)
