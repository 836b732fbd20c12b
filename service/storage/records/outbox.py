"""Events: written with the change that they report, published after it was committed."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, structs

from service.storage.engine.advisory_lock import try_lock
from service.storage.engine.connection import Connection
from service.storage.engine.parameters import many_rows, one_value_list, parameters

EVENT_COLUMNS = {
    "tenant_id": "text",
    "install_id": "uuid",
    "schedule_id": "uuid",
    "run_id": "uuid",
    "type": "text",
    "data": "jsonb",
}
"""An ``OutboxEvent``, as columns."""

NEW_COLUMNS = {**EVENT_COLUMNS, "at": "timestamptz"}
"""An ``OutboxEvent`` and its time, as columns."""

_NEW = ", ".join(NEW_COLUMNS)

# Of a relation with these columns. A statement that writes more than events contains it as a CTE.
INSERTION = f"INSERT INTO ext_scheduler.outbox ({_NEW}) SELECT {_NEW} FROM {{rows}}"

INSERT_ONE = f"INSERT INTO ext_scheduler.outbox ({_NEW}) {one_value_list(NEW_COLUMNS)}"

# Events that are written together have one time.
_AT = parameters(NEW_COLUMNS)["at"]
INSERT = INSERTION.format(rows=f"(SELECT given.*, {_AT} AS at FROM {many_rows(EVENT_COLUMNS)}) e")

TAKE = """
SELECT tenant_id, id, install_id, schedule_id, run_id, type, at, data::text
FROM ext_scheduler.outbox
ORDER BY sequence
LIMIT $1::integer
"""

TAKE_FREE = f"{TAKE} FOR UPDATE SKIP LOCKED"
LOCK_KEY = 0x657874_6F757462
"""Of the node 0; that of each other node follows it."""

# Those that have waited longest.
WAITING_TENANTS = """
SELECT tenant_id FROM ext_scheduler.outbox
GROUP BY tenant_id ORDER BY min(sequence) LIMIT $1::integer
"""

TAKE_OF_TENANTS = """
SELECT tenant_id, id, install_id, schedule_id, run_id, type, at, data::text
FROM ext_scheduler.outbox
WHERE tenant_id = ANY ($2::text[])
ORDER BY sequence
LIMIT $1::integer
"""

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
        await connection.execute(INSERT, *map(list, columns), at)


async def take(connection: Connection, limit: int) -> list[PendingEvent]:
    """Lock and return the oldest events, except those that another publisher has locked."""
    return [PendingEvent(*row) for row in await connection.fetch(TAKE_FREE, limit)]


async def waiting_tenants(connection: Connection, limit: int) -> list[str]:
    """Return tenants that have events, those first that have waited longest."""
    return [row["tenant_id"] for row in await connection.fetch(WAITING_TENANTS, limit)]


async def take_of_node(
    connection: Connection, limit: int, node: int, tenant_ids: Sequence[str]
) -> list[PendingEvent]:
    """Return the oldest events of these tenants, whose rows are on one of several nodes.

    No statement locks them there: one publisher at a time takes those of a node, until its
    transaction ends, and the others get none.
    """
    if not await try_lock(connection, LOCK_KEY + node):
        return []
    rows = await connection.fetch(TAKE_OF_TENANTS, limit, tenant_ids)
    return [PendingEvent(*row) for row in rows]


async def remove(connection: Connection, published: Sequence[PendingEvent]) -> None:
    """Remove published events."""
    await connection.execute(
        REMOVE, [event.tenant_id for event in published], [event.id for event in published]
    )
