"""What ``explain`` reads of a schedule: timer, runs, and when something was switched off."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules.disabling import ScheduleRef

TIMER = """
SELECT t.cron, t.timezone, t.due_at, t.missed FROM ext_scheduler.timers t
WHERE t.tenant_id = $1::text AND t.schedule_id = $2::uuid
"""

FAILURES = """
SELECT coalesce(s.failures, 0) AS failures, s.failing_since, s.disabled_after
FROM tenant_extension_schedule s
WHERE s.tenant_id = $1::text AND s.id = $2::uuid
"""

_RUN = """
SELECT r.id, r.slot, r.status, r.attempts, r.missed, r.queued_at, r.started_at, r.finished_at,
  r.retry_at, r.worker, r.error
FROM ext_scheduler.runs r
WHERE r.tenant_id = $1::text AND r.schedule_id = $2::uuid
"""

# The one that others have to wait for comes first.
OPEN_RUN = f"""{_RUN}
  AND r.slot > $3::timestamptz - interval '7 days' AND r.status IN ('queued', 'running')
ORDER BY r.attempts > 0 DESC, r.slot LIMIT 1
"""

RUN_OF_SLOT = f"{_RUN} AND r.slot = $3::timestamptz ORDER BY r.kind DESC LIMIT 1"

FOLLOWING_RUN = f"""{_RUN}
  AND r.slot > $3::timestamptz AND r.kind = 'scheduled' ORDER BY r.slot LIMIT 1
"""

_ENTRY = """
a.at, a.actor, a.op, a.changes::text AS changes, a.sequence FROM ext_scheduler.audit a
"""
_BEFORE = "AND a.at <= $2::timestamptz ORDER BY a.at DESC, a.id DESC LIMIT $3::integer"
_AFTER = "AND a.at > $2::timestamptz ORDER BY a.at, a.id LIMIT $3::integer"
_PAUSES = f"{_ENTRY} WHERE a.tenant_id = $1::text AND a.op = 'setTenantPaused'"
_SWITCHES = f"""{_ENTRY}
WHERE a.tenant_id = $1::text AND a.op = 'setInstallEnabled' AND a.install_id = $4::uuid
"""
_SCHEDULE = f"""{_ENTRY}
WHERE a.tenant_id = $1::text AND a.install_id = $4::uuid
  AND (a.schedule_id = $5::uuid OR a.op = 'disableSchedules')
"""

PAUSES_BEFORE, PAUSES_AFTER = f"SELECT {_PAUSES} {_BEFORE}", f"SELECT {_PAUSES} {_AFTER}"
SWITCHES_BEFORE, SWITCHES_AFTER = f"SELECT {_SWITCHES} {_BEFORE}", f"SELECT {_SWITCHES} {_AFTER}"
SCHEDULE_BEFORE, SCHEDULE_AFTER = f"SELECT {_SCHEDULE} {_BEFORE}", f"SELECT {_SCHEDULE} {_AFTER}"

PAUSES_UNTIL = f"SELECT {_PAUSES} {_BEFORE}"

USAGE = """
SELECT (SELECT count(*) FROM tenant_extension_schedule s
    WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid) AS schedules,
  (SELECT w.accepted FROM ext_scheduler.rate_windows w
    WHERE w.tenant_id = $1 AND w.scope = 'install:' || ($2::uuid)::text) AS changes,
  (SELECT w.accepted FROM ext_scheduler.rate_windows w
    WHERE w.tenant_id = $1 AND w.scope = 'manual') AS manual_runs
"""

MAX_ENTRIES = 50


class TimerRow(Struct, frozen=True):
    """A schedule's timer."""

    cron: str
    timezone: str
    due_at: datetime
    missed: int


class FailuresRow(Struct, frozen=True):
    """A schedule's failures in a row; ``disabled_after`` where they had it disabled."""

    failures: int = 0
    failing_since: datetime | None = None
    disabled_after: int | None = None


class RunStateRow(Struct, frozen=True):
    """A run record, as far as it explains anything."""

    id: UUID
    slot: datetime
    status: str
    attempts: int
    missed: int
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    retry_at: datetime | None
    worker: str | None
    error: str | None


class Entry(Struct, frozen=True):
    """An audit entry; ``changes`` is an object, ``sequence`` tells the order of commits."""

    at: datetime
    actor: str
    op: str
    changes: dict[str, Any]
    sequence: int = 0

    @property
    def place(self) -> tuple[int, datetime]:
        """Return what sorts entries about one thing in the order of their commits."""
        return self.sequence, self.at


class Entries(Struct, frozen=True):
    """The entries up to an instant, newest first, and those after it, oldest first.

    In the order of their commits. What was made before the newest of the former is none of the
    latter, although its time is later: the database's clock was set back in between.
    """

    before: list[Entry]
    after: list[Entry]


class UsageRow(Struct, frozen=True):
    """What counts against the limits: schedules of the install, and recent changes and runs."""

    schedules: int
    changes: Sequence[datetime]
    manual_runs: Sequence[datetime]


async def usage(connection: Connection, of: ScheduleRef) -> UsageRow:
    """Return what an install, and its tenant, have used of their limits."""
    row = await connection.fetchrow(USAGE, of.tenant_id, of.install_id)
    assert row is not None  # noqa: S101 - a row without a table
    return UsageRow(row["schedules"], row["changes"] or (), row["manual_runs"] or ())


async def timer(connection: Connection, of: ScheduleRef) -> TimerRow | None:
    """Return a schedule's timer."""
    row = await connection.fetchrow(TIMER, of.tenant_id, of.schedule_id)
    return None if row is None else TimerRow(*row)


async def failures(connection: Connection, of: ScheduleRef) -> FailuresRow:
    """Return a schedule's failures in a row."""
    row = await connection.fetchrow(FAILURES, of.tenant_id, of.schedule_id)
    return FailuresRow() if row is None else FailuresRow(*row)


async def open_run(connection: Connection, of: ScheduleRef, now: datetime) -> RunStateRow | None:
    """Return the unfinished run that others wait for, else one that waits itself."""
    return await _run(connection, OPEN_RUN, of, now)


async def run_of_slot(connection: Connection, of: ScheduleRef, at: datetime) -> RunStateRow | None:
    """Return the run of a slot, the scheduled one before a manual one."""
    return await _run(connection, RUN_OF_SLOT, of, at)


async def following_run(
    connection: Connection, of: ScheduleRef, at: datetime
) -> RunStateRow | None:
    """Return the first scheduled run after a slot."""
    return await _run(connection, FOLLOWING_RUN, of, at)


async def pauses(connection: Connection, of: ScheduleRef, at: datetime) -> Entries:
    """Return when the tenant was paused and resumed."""
    values = (of.tenant_id, at, MAX_ENTRIES)
    return await _entries(connection, PAUSES_BEFORE, PAUSES_AFTER, values)


async def latest_pauses(connection: Connection, tenant_id: str, until: datetime) -> list[Entry]:
    """Return when the tenant was last paused and resumed before an instant, newest first."""
    rows = await connection.fetch(PAUSES_UNTIL, tenant_id, until, MAX_ENTRIES)
    return [_entry(*row) for row in rows]


async def install_switches(connection: Connection, of: ScheduleRef, at: datetime) -> Entries:
    """Return when the install was disabled and enabled."""
    values = (of.tenant_id, at, MAX_ENTRIES, of.install_id)
    return await _entries(connection, SWITCHES_BEFORE, SWITCHES_AFTER, values)


async def schedule_changes(connection: Connection, of: ScheduleRef, at: datetime) -> Entries:
    """Return the latest changes of a schedule around an instant."""
    values = (of.tenant_id, at, MAX_ENTRIES, of.install_id, of.schedule_id)
    return await _entries(connection, SCHEDULE_BEFORE, SCHEDULE_AFTER, values)


async def _run(
    connection: Connection, statement: str, of: ScheduleRef, at: datetime
) -> RunStateRow | None:
    row = await connection.fetchrow(statement, of.tenant_id, of.schedule_id, at)
    return None if row is None else RunStateRow(*row)


async def _entries(
    connection: Connection, before: str, after: str, values: tuple[object, ...]
) -> Entries:
    made_before = [_entry(*row) for row in await connection.fetch(before, *values)]
    made_after = [_entry(*row) for row in await connection.fetch(after, *values)]
    made_before.sort(key=lambda entry: entry.place, reverse=True)
    made_after.sort(key=lambda entry: entry.place)
    last = made_before[0].sequence if made_before else 0
    return Entries(made_before, [entry for entry in made_after if entry.sequence >= last])


def _entry(at: datetime, actor: str, op: str, changes: str, sequence: int) -> Entry:
    value = msgspec.json.decode(changes)
    return Entry(at, actor, op, value if isinstance(value, dict) else {}, sequence)
