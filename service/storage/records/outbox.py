"""Events that were committed and are still to be published."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.advisory_lock import try_lock
from service.storage.engine.connection import Connection

TAKE = """
SELECT tenant_id, id, install_id, schedule_id, run_id, type, at, data::text
FROM ext_scheduler.outbox
ORDER BY sequence
LIMIT $1::integer
"""

TAKE_FREE = f"{TAKE} FOR UPDATE SKIP LOCKED"
ALONE_KEY = 0x657874_6F757462

REMOVE = """
DELETE FROM ext_scheduler.outbox o
USING unnest($1::text[], $2::uuid[]) AS p (tenant_id, id)
WHERE o.tenant_id = p.tenant_id AND o.id = p.id
"""


class Pending(Struct, frozen=True):
    """An event to be published; ``data`` is JSON text."""

    tenant_id: str
    id: UUID
    install_id: UUID
    schedule_id: UUID | None
    run_id: UUID | None
    type: str
    at: datetime
    data: str


async def take(connection: Connection, limit: int, *, alone: bool = False) -> list[Pending]:
    """Return the oldest events that nobody else publishes until this transaction ends.

    They are locked one by one; ``alone``, for rows on several nodes, which cannot be, is for one
    publisher at a time, and gives none to the others.
    """
    if not alone:
        return [Pending(*row) for row in await connection.fetch(TAKE_FREE, limit)]
    if not await try_lock(connection, ALONE_KEY):
        return []
    return [Pending(*row) for row in await connection.fetch(TAKE, limit)]


async def remove(connection: Connection, published: Sequence[Pending]) -> None:
    """Forget events that have been published."""
    await connection.execute(
        REMOVE, [event.tenant_id for event in published], [event.id for event in published]
    )
