"""Audit entries by keyset, newest first."""

from datetime import UTC, datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.runs.history import NEWEST

COLUMNS = """
  a.id, a.at, a.tenant_id, a.install_id, a.actor, a.trigger, a.op, a.changes::text AS changes,
  a.request_id, a.schedule_id
"""

# The bound on the time alone is what the index takes; the pair then cuts within one instant.
_AFTER = """
  a.at >= $2::timestamptz AND a.at <= $3::timestamptz AND (a.at, a.id) < ($3, $4::uuid)
"""

OF_TENANT = f"""
SELECT {COLUMNS} FROM ext_scheduler.audit a
WHERE a.tenant_id = $1::text AND {_AFTER}
ORDER BY a.at DESC, a.id DESC
LIMIT $5::integer
"""

OF_INSTALL = f"""
SELECT {COLUMNS} FROM ext_scheduler.audit a
WHERE ($1::text IS NULL OR a.tenant_id = $1) AND a.install_id = $6::uuid AND {_AFTER}
ORDER BY a.at DESC, a.id DESC
LIMIT $5::integer
"""

OF_ALL = f"""
SELECT {COLUMNS} FROM ext_scheduler.audit a
WHERE $1::text IS NULL AND {_AFTER}
ORDER BY a.at DESC, a.id DESC
LIMIT $5::integer
"""

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class EntryRow(Struct, frozen=True):
    """An audit entry; ``changes`` is JSON text."""

    id: UUID
    at: datetime
    tenant_id: str
    install_id: UUID | None
    actor: str
    trigger: str
    op: str
    changes: str
    request_id: str
    schedule_id: UUID | None


class Wanted(Struct, frozen=True, kw_only=True):
    """Whose entries, None where all will do; ``after`` is (at, id) of the last one seen."""

    tenant_id: str | None
    install_id: UUID | None
    since: datetime = LONG_AGO
    after: tuple[datetime, UUID] = NEWEST


async def page(connection: Connection, wanted: Wanted, limit: int) -> list[EntryRow]:
    """Return at most ``limit`` entries, newest first."""
    values = (wanted.tenant_id, wanted.since, *wanted.after, limit)
    if wanted.install_id is not None:
        rows = await connection.fetch(OF_INSTALL, *values, wanted.install_id)
    else:
        rows = await connection.fetch(OF_TENANT if wanted.tenant_id else OF_ALL, *values)
    return [EntryRow(*row) for row in rows]
