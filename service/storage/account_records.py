"""What is on record about the slots of schedules: rows, runs, audit entries."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from service.rules.accounting import SlotRun
from service.storage.engine.connection import Connection
from service.storage.engine.keyset import LATEST
from service.storage.schedules.ownership import DRIVEN_BY_OTHER

_PAGE = f"""
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id, s.name, coalesce(s.cron, '') AS cron,
  coalesce(s.timezone, 'UTC') AS timezone, coalesce(s.enabled, false) AS enabled, s.created_at,
  NOT {DRIVEN_BY_OTHER} AS ours, t.due_at, coalesce(t.missed, 0) AS missed
FROM (
  SELECT * FROM tenant_extension_schedule s
  WHERE {{where}}
  ORDER BY s.tenant_id, s.id
  LIMIT $3::integer
) s
LEFT JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
ORDER BY s.tenant_id, s.id
"""

PAGE_OF_TENANT = _PAGE.format(where="s.tenant_id = $1::text AND s.id > $2::uuid")
PAGE_OF_ALL = _PAGE.format(where="(s.tenant_id, s.id) > ($1::text, $2::uuid)")

# Deletions that are on record since the window began, of schedules that do not exist. Entries of
# `applySchedules` are told apart by what they describe, not by their order, which a clock that was
# set back turns round: a creation describes all of a schedule, an update never its name.
DELETED = """
SELECT a.tenant_id, a.schedule_id, a.install_id, a.at, a.id, a.changes::text AS changes
FROM ext_scheduler.audit a
WHERE ($1::text IS NULL OR a.tenant_id = $1) AND a.schedule_id IS NOT NULL
  AND a.at >= $2::timestamptz AND (a.at, a.id) > ($2, $3::uuid)
  AND (a.op IN ('delete', 'deleteSchedule')
    OR a.op = 'applySchedules' AND a.changes ? 'name' AND NOT a.changes ? 'endpoint')
  AND NOT EXISTS (SELECT FROM tenant_extension_schedule s
    WHERE s.tenant_id = a.tenant_id AND s.id = a.schedule_id)
  AND EXISTS (SELECT FROM tenant_extension_install i
    WHERE i.tenant_id = a.tenant_id AND i.id = a.install_id)
ORDER BY a.at, a.id
LIMIT $4::integer
"""

_RUNS_OF = """FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, schedule_id)
JOIN ext_scheduler.runs r ON r.tenant_id = w.tenant_id AND r.schedule_id = w.schedule_id
  AND r.slot > $3::timestamptz AND r.slot <= $4::timestamptz AND r.kind = 'scheduled'
"""

RUN_SUMS = f"""
SELECT r.tenant_id, r.schedule_id, count(*) AS runs,
  sum(extract(epoch FROM r.slot)::bigint / 60)::bigint AS minutes,
  count(*) FILTER (WHERE r.status IN ('skipped', 'skipped_overlap')) AS skipped
{_RUNS_OF}
GROUP BY r.tenant_id, r.schedule_id
"""

RUNS = f"""
SELECT r.tenant_id, r.schedule_id, r.slot, r.status, r.error, r.missed {_RUNS_OF}
ORDER BY r.slot
"""

LATER_RUN = """SELECT r.tenant_id, r.schedule_id, r.slot, r.status, r.error, r.missed
FROM ext_scheduler.runs r WHERE r.tenant_id = $1::text AND r.schedule_id = $2::uuid
  AND r.slot > $3::timestamptz AND r.kind = 'scheduled'
ORDER BY r.slot LIMIT 1
"""

_ENTRY = """
a.tenant_id, a.install_id, a.schedule_id, a.at, a.id, a.sequence, a.changes::text AS changes
"""

CHANGES = f"""
SELECT {_ENTRY} FROM ext_scheduler.audit a
WHERE a.tenant_id = ANY ($1::text[]) AND a.at > $2::timestamptz AND a.at <= $3::timestamptz
  AND a.install_id IS NOT NULL
  AND (a.schedule_id IS NULL OR a.schedule_id BETWEEN $4::uuid AND $5::uuid)
  AND a.op NOT IN ('runNow', 'setInstallEnabled')
"""

_EARLIER = f"""
SELECT {_ENTRY} FROM ext_scheduler.audit a
WHERE a.tenant_id = $1::text AND a.install_id = $2::uuid AND a.at <= $4::timestamptz
  AND {{condition}}
ORDER BY a.at DESC, a.id DESC LIMIT 1
"""

EARLIER_CRON = _EARLIER.format(condition="a.schedule_id = $3::uuid AND a.changes ? 'cron'")
EARLIER_TIMEZONE = _EARLIER.format(condition="a.schedule_id = $3::uuid AND a.changes ? 'timezone'")
EARLIER_ENABLED = _EARLIER.format(
    condition="""CASE WHEN a.schedule_id IS NULL
    THEN a.changes -> 'disabled' ? $3::uuid::text OR a.changes -> 'reenabled' ? $3::uuid::text
    ELSE a.schedule_id = $3 AND a.changes ? 'enabled' END"""
)


class ScheduleRecord(Struct, frozen=True):
    """A schedule row with its timer; ``created_at`` is None where the row does not tell."""

    tenant_id: str
    id: UUID
    install_id: UUID
    name: str | None
    cron: str
    timezone: str
    enabled: bool
    created_at: datetime | None
    ours: bool
    due_at: datetime | None
    missed: int

    @property
    def key(self) -> tuple[str, UUID]:
        """Return the tenant and schedule id."""
        return self.tenant_id, self.id


class DeletedRecord(Struct, frozen=True):
    """The audit entry of a deletion."""

    tenant_id: str
    id: UUID
    install_id: UUID
    at: datetime
    entry_id: UUID
    changes: dict[str, Any]


class RunSum(Struct, frozen=True):
    """The scheduled runs of a schedule in a window; ``minutes`` is the sum of their slots."""

    runs: int = 0
    minutes: int = 0
    skipped: int = 0


class AuditedChange(Struct, frozen=True):
    """An audit entry of a schedule, or (``schedule_id`` None) of its install."""

    tenant_id: str
    install_id: UUID
    schedule_id: UUID | None
    at: datetime
    id: UUID
    sequence: int
    changes: dict[str, Any]


async def page(
    connection: Connection, tenant_id: str | None, after: tuple[str, UUID], limit: int
) -> list[ScheduleRecord]:
    """Return the schedules that follow ``after``, by tenant and id."""
    statement, first = (PAGE_OF_ALL, after[0]) if tenant_id is None else (PAGE_OF_TENANT, tenant_id)
    rows = await connection.fetch(statement, first, after[1], limit)
    return [
        ScheduleRecord(*{**row, "created_at": _in_utc(row["created_at"])}.values()) for row in rows
    ]


def _in_utc(at: datetime | None) -> datetime | None:
    # The platform made some of these columns without a zone; they hold UTC.
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


async def deleted(
    connection: Connection, tenant_id: str | None, after: tuple[datetime, UUID], limit: int
) -> list[DeletedRecord]:
    """Return the deletions that follow ``after``, by time and entry id."""
    rows = await connection.fetch(DELETED, tenant_id, *after, limit)
    return [
        DeletedRecord(*{**row, "changes": json_object(row["changes"])}.values()) for row in rows
    ]


async def run_sums(
    connection: Connection,
    keys: Sequence[tuple[str, UUID]],
    after: datetime,
    until: datetime,
) -> dict[tuple[str, UUID], RunSum]:
    """Return the sums of the runs in (after, until], without schedules that have none."""
    rows = await connection.fetch(RUN_SUMS, *_columns(keys), after, until)
    return {(row[0], row[1]): RunSum(*row[2:]) for row in rows}


async def runs(
    connection: Connection,
    keys: Sequence[tuple[str, UUID]],
    after: datetime,
    until: datetime,
) -> dict[tuple[str, UUID], list[SlotRun]]:
    """Return the runs in (after, until] by schedule, ascending."""
    found: dict[tuple[str, UUID], list[SlotRun]] = {}
    for row in await connection.fetch(RUNS, *_columns(keys), after, until):
        found.setdefault((row[0], row[1]), []).append(SlotRun(*row[2:]))
    return found


async def later_runs(
    connection: Connection, keys: Sequence[tuple[str, UUID]], until: datetime
) -> dict[tuple[str, UUID], SlotRun]:
    """Return the first run of each schedule after an instant."""
    # One statement each, together on the wire: a search by index for all is not possible where a
    # tenant's rows are on another node.
    rows = await connection.fetchmany(LATER_RUN, [(*key, until) for key in keys]) if keys else []
    return {(row[0], row[1]): SlotRun(*row[2:]) for row in rows}


async def changes(
    connection: Connection,
    schedules: Sequence[tuple[str, UUID]],
    after: datetime,
    until: datetime = LATEST,
) -> list[AuditedChange]:
    """Return the entries about these schedules and their tenants' installs in (after, until]."""
    ids = [id_ for _, id_ in schedules]
    tenants = sorted({tenant_id for tenant_id, _ in schedules})
    rows = await connection.fetch(CHANGES, tenants, after, until, min(ids), max(ids))
    return [_change(row) for row in rows]


async def earlier(
    connection: Connection,
    statement: str,
    schedules: Sequence[tuple[str, UUID, UUID]],
    until: datetime,
) -> dict[tuple[str, UUID], AuditedChange]:
    """Return the latest entry up to an instant of each (tenant, install, schedule)."""
    found = {}
    for tenant_id, install_id, id_ in schedules:
        row = await connection.fetchrow(statement, tenant_id, install_id, id_, until)
        if row is not None:
            found[tenant_id, id_] = _change(row)
    return found


def _change(row: Any) -> AuditedChange:  # noqa: ANN401 - a row of the driver
    return AuditedChange(*{**row, "changes": json_object(row["changes"])}.values())


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object; an empty one for another value."""
    value = msgspec.json.decode(text)
    return value if isinstance(value, dict) else {}


def _columns(keys: Sequence[tuple[str, UUID]]) -> tuple[list[str], list[UUID]]:
    return [tenant_id for tenant_id, _ in keys], [id_ for _, id_ in keys]
