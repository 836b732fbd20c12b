"""Audit entries: written with the change that they describe, read by keyset, newest first."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, structs

from service.storage.engine.connection import Connection
from service.storage.engine.keyset import EARLIEST, NEWEST
from service.storage.engine.parameters import many_rows, one_value_list

NEW_COLUMNS = {
    "tenant_id": "text",
    "install_id": "uuid",
    "schedule_id": "uuid",
    "op": "text",
    "trigger": "text",
    "actor": "text",
    "request_id": "text",
    "changes": "jsonb",
    "at": "timestamptz",
}
"""A ``NewAuditEntry`` and its time, as columns."""

_NEW = ", ".join(NEW_COLUMNS)

# Of a relation with these columns. A statement that writes more than entries contains it as a CTE.
INSERTION = f"INSERT INTO ext_scheduler.audit ({_NEW}) SELECT {_NEW} FROM {{rows}}"

INSERT_ONE = f"INSERT INTO ext_scheduler.audit ({_NEW}) {one_value_list(NEW_COLUMNS)}"

INSERT = INSERTION.format(rows=many_rows(NEW_COLUMNS))

COLUMNS = """
  a.id, a.at, a.tenant_id, a.install_id, a.actor, a.trigger, a.op, a.changes::text AS changes,
  a.request_id, a.schedule_id
"""

# The index is searched by the bound on the time alone; the pair then cuts within one instant.
_AFTER = """
  a.at >= $2::timestamptz AND a.at <= $3::timestamptz AND (a.at, a.id) < ($3, $4::uuid)
  AND ($6::text IS NULL OR a.actor = $6) AND ($7::text IS NULL OR a.op = $7)
"""

OF_TENANT = f"""
SELECT {COLUMNS} FROM ext_scheduler.audit a
WHERE a.tenant_id = $1::text AND {_AFTER}
ORDER BY a.at DESC, a.id DESC
LIMIT $5::integer
"""

OF_INSTALL = f"""
SELECT {COLUMNS} FROM ext_scheduler.audit a
WHERE ($1::text IS NULL OR a.tenant_id = $1) AND a.install_id = $8::uuid AND {_AFTER}
  AND ($9::uuid IS NULL OR a.schedule_id = $9)
ORDER BY a.at DESC, a.id DESC
LIMIT $5::integer
"""

OF_ALL = f"""
SELECT {COLUMNS} FROM ext_scheduler.audit a
WHERE $1::text IS NULL AND {_AFTER}
ORDER BY a.at DESC, a.id DESC
LIMIT $5::integer
"""


class NewAuditEntry(Struct, frozen=True, kw_only=True):
    """An entry to be written; ``changes`` is JSON text."""

    tenant_id: str
    install_id: UUID | None
    schedule_id: UUID | None
    op: str
    trigger: str
    actor: str
    request_id: str
    changes: str


class AuditRow(Struct, frozen=True):
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


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Filters, None for any value; ``after`` is (at, id) of the last entry seen.

    ``schedule_id`` is looked for within ``install_id``.
    """

    tenant_id: str | None
    install_id: UUID | None
    schedule_id: UUID | None = None
    actor: str | None = None
    op: str | None = None
    since: datetime = EARLIEST
    after: tuple[datetime, UUID] = NEWEST


async def insert(connection: Connection, entries: Sequence[NewAuditEntry], at: datetime) -> None:
    """Write entries, in the transaction of what they describe."""
    if entries:
        columns = zip(*map(structs.astuple, entries), strict=True)
        await connection.execute(INSERT, *map(list, columns), [at] * len(entries))


async def page(connection: Connection, filter_: AuditFilter, limit: int) -> list[AuditRow]:
    """Return at most ``limit`` entries, newest first."""
    matched = (filter_.actor, filter_.op)
    values = (filter_.tenant_id, filter_.since, *filter_.after, limit, *matched)
    if filter_.install_id is not None:
        rows = await connection.fetch(OF_INSTALL, *values, filter_.install_id, filter_.schedule_id)
    else:
        rows = await connection.fetch(OF_TENANT if filter_.tenant_id else OF_ALL, *values)
    return [AuditRow(*row) for row in rows]
