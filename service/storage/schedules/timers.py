"""Timers: the next slot of each enabled schedule, derived from the schedule row.

A change of a schedule locks its row first and its timer second; the planner locks timers alone, and
skips those that are locked.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection

NEXT_DUE = "SELECT due_at FROM ext_scheduler.timers ORDER BY due_at LIMIT 1"

COUNT_DUE = "SELECT count(*) FROM ext_scheduler.timers WHERE due_at <= $1::timestamptz"

TAKE_DUE = """
SELECT tenant_id, schedule_id, install_id, cron, timezone, due_at, missed
FROM ext_scheduler.timers
WHERE due_at <= $1::timestamptz
ORDER BY due_at
LIMIT $2::integer
FOR UPDATE SKIP LOCKED
"""

MOVE = """
UPDATE ext_scheduler.timers t
SET install_id = m.install_id, cron = m.cron, timezone = m.timezone, due_at = m.due_at,
  missed = m.missed
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[],
  $7::integer[]) AS m (tenant_id, schedule_id, install_id, cron, timezone, due_at, missed)
WHERE t.tenant_id = m.tenant_id AND t.schedule_id = m.schedule_id
"""

ADVANCE = """
UPDATE ext_scheduler.timers t SET due_at = m.due_at, missed = m.missed
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::integer[])
  AS m (tenant_id, schedule_id, due_at, missed)
WHERE t.tenant_id = m.tenant_id AND t.schedule_id = m.schedule_id
"""

LOCK = """
SELECT t.tenant_id, t.schedule_id
FROM ext_scheduler.timers t
JOIN unnest($1::text[], $2::uuid[]) AS w (tenant_id, schedule_id)
  ON t.tenant_id = w.tenant_id AND t.schedule_id = w.schedule_id
FOR UPDATE OF t SKIP LOCKED
"""

# Of two arrays of one length. A statement that writes the schedule row too contains it as a CTE.
REMOVAL = """
DELETE FROM ext_scheduler.timers t
USING unnest({tenant_ids}, {schedule_ids}) AS removed (tenant_id, schedule_id)
WHERE t.tenant_id = removed.tenant_id AND t.schedule_id = removed.schedule_id
"""

REMOVE = REMOVAL.format(tenant_ids="$1::text[]", schedule_ids="$2::uuid[]")

LOCK_OF_INSTALLS = """
SELECT t.tenant_id, t.schedule_id FROM ext_scheduler.timers t
WHERE t.tenant_id = $1::text AND t.install_id = ANY ($2::uuid[])
ORDER BY t.schedule_id FOR UPDATE
"""

ADD = """
INSERT INTO ext_scheduler.timers
  (tenant_id, schedule_id, install_id, cron, timezone, due_at, missed)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[],
  $7::integer[])
ON CONFLICT (tenant_id, schedule_id) DO NOTHING
"""

TAKE_FUTURE = """
SELECT tenant_id, schedule_id, install_id, cron, timezone, due_at, missed
FROM ext_scheduler.timers
WHERE (tenant_id, schedule_id) > ($1::text, $2::uuid) AND due_at > $3::timestamptz
ORDER BY tenant_id, schedule_id
LIMIT $4::integer
FOR UPDATE
"""

# Timers whose slots passed while nothing fired, and that no planner has advanced since.
OVERDUE = """
SELECT tenant_id, schedule_id, install_id, cron, timezone, due_at, missed
FROM ext_scheduler.timers
WHERE tenant_id = $1::text AND ($2::uuid IS NULL OR install_id = $2)
  AND due_at <= $3::timestamptz
ORDER BY schedule_id
FOR UPDATE
"""


class Timer(Struct, frozen=True):
    """The next slot of a schedule, and what it was computed from.

    ``missed`` counts the slots before it that no run record accounts for yet.
    """

    tenant_id: str
    schedule_id: UUID
    install_id: UUID
    cron: str
    timezone: str
    due_at: datetime
    missed: int = 0

    @property
    def key(self) -> tuple[str, UUID]:
        """(tenant, schedule)."""
        return self.tenant_id, self.schedule_id

    def same_but_when(self, other: "Timer") -> bool:
        """Return whether both timers were computed from the same expression, zone and install."""
        return (
            self.timezone == other.timezone
            and self.cron == other.cron
            and self.install_id == other.install_id
        )


async def next_due(connection: Connection) -> datetime | None:
    """Return the earliest due instant of all timers, None without timers."""
    due: datetime | None = await connection.fetchval(NEXT_DUE)
    return due


async def count_due(connection: Connection, now: datetime) -> int:
    """Count the timers that are due."""
    count: int = await connection.fetchval(COUNT_DUE, now)
    return count


async def take_due(connection: Connection, now: datetime, limit: int) -> list[Timer]:
    """Lock due timers, earliest first, except those that another session has locked."""
    return [Timer(*row) for row in await connection.fetch(TAKE_DUE, now, limit)]


async def take_future(
    connection: Connection, after: tuple[str, UUID], now: datetime, limit: int
) -> list[Timer]:
    """Lock timers that are not due yet, ordered by key, after ``after``."""
    return [Timer(*row) for row in await connection.fetch(TAKE_FUTURE, *after, now, limit)]


async def lock(connection: Connection, keys: Sequence[tuple[str, UUID]]) -> list[tuple[str, UUID]]:
    """Lock timers by key, except those that another session has locked; return the locked keys."""
    rows = await connection.fetch(LOCK, [key[0] for key in keys], [key[1] for key in keys])
    return [(row[0], row[1]) for row in rows]


async def move(connection: Connection, timers: Sequence[Timer]) -> None:
    """Overwrite the stored timers of these schedules with the given ones."""
    if timers:
        await connection.execute(MOVE, *_columns(timers))


async def advance(connection: Connection, timers: Sequence[Timer]) -> None:
    """Write the due instant and missed count of timers; the other columns stay unchanged."""
    if timers:
        columns = [(t.tenant_id, t.schedule_id, t.due_at, t.missed) for t in timers]
        await connection.execute(ADVANCE, *map(list, zip(*columns, strict=True)))


async def add(connection: Connection, timers: Sequence[Timer]) -> None:
    """Insert timers; an existing timer stays unchanged."""
    if timers:
        await connection.execute(ADD, *_columns(timers))


async def remove(connection: Connection, keys: Sequence[tuple[str, UUID]]) -> None:
    """Remove the timers of these schedules."""
    if keys:
        await connection.execute(REMOVE, [key[0] for key in keys], [key[1] for key in keys])


async def remove_of_installs(
    connection: Connection, tenant_id: str, install_ids: Sequence[UUID]
) -> None:
    """Remove all timers of installs, those without a schedule included, locked in one order."""
    rows = await connection.fetch(LOCK_OF_INSTALLS, tenant_id, install_ids)
    await remove(connection, [(row["tenant_id"], row["schedule_id"]) for row in rows])


def _columns(timers: Sequence[Timer]) -> tuple[list[object], ...]:
    return tuple([getattr(timer, name) for timer in timers] for name in Timer.__struct_fields__)


async def overdue(
    connection: Connection, tenant_id: str, install_id: UUID | None, now: datetime
) -> list[Timer]:
    """Lock and return the timers of a tenant, or of one install, that are due."""
    return [Timer(*row) for row in await connection.fetch(OVERDUE, tenant_id, install_id, now)]
