"""Workers that are up: each writes its own row every few seconds."""

from datetime import datetime, timedelta

from msgspec import Struct

from service.storage.engine.connection import Connection

UP_WITHIN = timedelta(seconds=30)
"""A worker that was not seen for longer is not up."""

SEEN = """
INSERT INTO ext_scheduler.workers AS w (name, started_at, seen_at, in_flight, capacity)
VALUES ($1::text, $2::timestamptz, $2, $3::integer, $4::integer)
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, in_flight = excluded.in_flight,
  capacity = excluded.capacity,
  started_at = CASE WHEN $5::boolean THEN excluded.started_at ELSE w.started_at END
"""

RECENT = """
SELECT w.name, w.started_at, w.seen_at, w.in_flight, w.capacity FROM ext_scheduler.workers w
ORDER BY w.seen_at DESC, w.name LIMIT $1::integer
"""


class WorkerRow(Struct, frozen=True):
    """A worker: when it started and was last seen, its runs in flight, and the most it takes."""

    name: str
    started_at: datetime
    seen_at: datetime
    in_flight: int
    capacity: int

    def is_up(self, now: datetime) -> bool:
        """Return whether the worker was seen lately."""
        return now - self.seen_at <= UP_WITHIN


async def seen(
    connection: Connection, name: str, now: datetime, in_flight: int, capacity: int, *, first: bool
) -> None:
    """Write that a worker is up; the ``first`` time since its start."""
    await connection.execute(SEEN, name, now, in_flight, capacity, first)


async def recent(connection: Connection, limit: int = 200) -> list[WorkerRow]:
    """Return the workers seen last, those that are no longer up included."""
    return [WorkerRow(*row) for row in await connection.fetch(RECENT, limit)]
