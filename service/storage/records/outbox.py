"""Events: written with the change that they report, published after it was committed."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, structs

from service.storage.engine.advisory_lock import try_lock
from service.storage.engine.connection import Connection
from service.storage.engine.parameters import many_rows

NEW_COLUMNS = {
    "tenant_id": "text",
    "install_id": "uuid",
    "schedule_id": "uuid",
    "run_id": "uuid",
    "type": "text",
    "data": "jsonb",
    "at": "timestamptz",
}
"""An ``OutboxEvent`` and its time, as columns."""

_NEW = ", ".join(NEW_COLUMNS)

# Of a relation with these columns. A statement that writes more than events contains it as a CTE.
INSERTION = f"INSERT INTO ext_scheduler.outbox ({_NEW}) SELECT {_NEW} FROM {{rows}}"

INSERT = INSERTION.format(rows=many_rows(NEW_COLUMNS))

TAKE = """
SELECT tenant_id, id, install_id, schedule_id, run_id, type, at, data::text
FROM ext_scheduler.outbox
ORDER BY sequence
LIMIT $1::integer
"""

TAKE_FREE = f"{TAKE} FOR UPDATE SKIP LOCKED"
LOCK_KEY = 0x657874_6F757462

REMOVE = """
DELETE FROM ext_scheduler.outbox o
USING unnest($1::text[], $2::uuid[]) AS p (tenant_id, id)
WHERE o.tenant_id = p.tenant_id AND o.id = p.id
"""


class OutboxEvent(Struct, frozen=True, kw_only=True):
    """An event to be written; ``data`` is JSON text."""

    tenant_id: str
    install_id: UUID
    schedule_id: UUID | None = None
    run_id: UUID | None = None
    type: str
    data: str


class PendingEvent(Struct, frozen=True):
    """An event to be published; ``data`` is JSON text."""

    tenant_id: str
    id: UUID
    install_id: UUID
    schedule_id: UUID | None
    run_id: UUID | None
    type: str
    at: datetime
    data: str


async def insert(connection: Connection, events: Sequence[OutboxEvent], at: datetime) -> None:
    """Write events, in the transaction of what they report."""
    if events:
        columns = zip(*map(structs.astuple, events), strict=True)
        await connection.execute(INSERT, *map(list, columns), [at] * len(events))


async def take(connection: Connection, limit: int, *, sharded: bool = False) -> list[PendingEvent]:
    """Lock and return the oldest events, except those that another publisher has locked.

    Rows on several nodes cannot be locked: when ``sharded``, one publisher at a time takes events,
    and the others get none.
    """
    if not sharded:
        return [PendingEvent(*row) for row in await connection.fetch(TAKE_FREE, limit)]
    if not await try_lock(connection, LOCK_KEY):
        return []
    return [PendingEvent(*row) for row in await connection.fetch(TAKE, limit)]


async def remove(connection: Connection, published: Sequence[PendingEvent]) -> None:
    """Remove published events."""
    await connection.execute(
        REMOVE, [event.tenant_id for event in published], [event.id for event in published]
    )
