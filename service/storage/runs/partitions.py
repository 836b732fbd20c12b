"""The partitions of the run records: one for each week of slots, made ahead and dropped whole."""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from service.storage.engine.advisory_lock import try_lock
from service.storage.engine.connection import Connection

WEEK = timedelta(days=7)
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)

LIST = """
SELECT c.relname AS name
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
WHERE h.inhparent = 'ext_scheduler.runs'::regclass AND c.relname ~ '^runs_[0-9]{8}$'
"""

# By functions that run as the tables' owner: the service's own role may neither create nor drop.
CREATE = "SELECT ext_scheduler.create_run_partition($1::date)"

DROP = "SELECT ext_scheduler.drop_run_partition($1::date)"

IN_DEFAULT = """
SELECT EXISTS (
  SELECT 1 FROM ext_scheduler.runs_default
  WHERE slot >= $1::timestamptz AND slot < $2::timestamptz)
"""

SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"

# One process at a time: reading the default partition and then attaching another one would be a
# deadlock between two.
LOCK_KEY = 0x657874_70617274


class Week(Struct, frozen=True):
    """A week of slots, from Monday 00:00 UTC, end exclusive."""

    start: datetime

    @property
    def end(self) -> datetime:
        """Return the first instant after it."""
        return self.start + WEEK

    @property
    def name(self) -> str:
        """Return the partition's name, without schema."""
        return f"runs_{self.start:%Y%m%d}"


def week_of(instant: datetime) -> Week:
    """Return the week that an instant is in."""
    return Week(_MONDAY + (instant - _MONDAY) // WEEK * WEEK)


async def existing(connection: Connection) -> list[Week]:
    """Return the weeks that have a partition, in order."""
    names = [row["name"] for row in await connection.fetch(LIST)]
    starts = [datetime.strptime(name[5:], "%Y%m%d").replace(tzinfo=UTC) for name in names]
    return [Week(start) for start in sorted(starts)]


async def make_ahead(connection: Connection, now: datetime, weeks: int = 3) -> list[str]:
    """Create the partitions of last week, this one and the next ones; return the new names.

    A week that has rows in the default partition already stays there. Does nothing while another
    process is doing it; DuplicateTableError is possible then. Waits at most two seconds for running
    statements, and raises LockNotAvailableError then.
    """
    existing_starts = {week.start for week in await existing(connection)}
    created = []
    for number in range(-1, weeks + 1):
        week = week_of(now + number * WEEK)
        if week.start in existing_starts:
            continue
        async with connection.transaction():
            await connection.execute(SET_LOCK_TIMEOUT)
            if not await try_lock(connection, LOCK_KEY):
                break
            if await connection.fetchval(IN_DEFAULT, week.start, week.end):
                continue
            await connection.execute(CREATE, week.start.date())
            created.append(week.name)
    return created


async def drop_before(connection: Connection, oldest: datetime) -> list[str]:
    """Drop the partitions all of whose slots are before ``oldest``; return their names.

    ``oldest`` is at least a day ago by the database's clock.
    """
    dropped = []
    for week in await existing(connection):
        if week.end <= oldest:
            async with connection.transaction():
                await connection.execute(SET_LOCK_TIMEOUT)
                await connection.execute(DROP, week.start.date())
            dropped.append(week.name)
    return dropped
