"""Events that were committed and are still to be published."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.connection import Connection

TAKE = """
SELECT tenant_id, id, install_id, schedule_id, run_id, type, at, data::text
FROM ext_scheduler.outbox
ORDER BY sequence
LIMIT $1::integer
FOR UPDATE SKIP LOCKED
"""

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


async def take(connection: Connection, limit: int) -> list[Pending]:
    """Lock the oldest events that nobody else is publishing."""
    return [Pending(*row) for row in await connection.fetch(TAKE, limit)]


async def remove(connection: Connection, published: Sequence[Pending]) -> None:
    """Forget events that have been published."""
    await connection.execute(
        REMOVE, [event.tenant_id for event in published], [event.id for event in published]
    )
