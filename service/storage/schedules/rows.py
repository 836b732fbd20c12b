"""Schedule rows, each with its timer: the two change in one statement."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import Struct, structs

from service.storage.engine.connection import Connection
from service.storage.engine.parameters import one_row
from service.storage.platform.installs import Install
from service.storage.schedules import timers
from service.storage.schedules.ownership import DRIVEN_BY_OTHER

COLUMNS = f"""
  s.id, s.endpoint_id, e.method AS endpoint_method, e.path AS endpoint_path,
  e.version_id AS endpoint_version_id, s.name, s.cron,
  s.timezone, coalesce(s.enabled, false) AS enabled, s.payload_json::text AS payload,
  s.last_run_at, s.last_run_status, s.last_error, s.created_at, s.updated_at,
  CASE WHEN NOT {DRIVEN_BY_OTHER} THEN t.due_at END AS next_run_at,
  coalesce(s.revision, 1) AS revision,
  coalesce(s.missing_endpoint, false) AS missing_endpoint, s.job_id,
  s.runner_schedule_id, {DRIVEN_BY_OTHER} AS driven_by_other
"""

JOINS = """
  LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id
  LEFT JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
"""


NEW_COLUMNS = {
    "endpoint_id": "uuid",
    "name": "text",
    "cron": "text",
    "timezone": "text",
    "enabled": "boolean",
    "payload": "jsonb",
    "due_at": "timestamptz",
}
"""A ``NewSchedule`` but for its id, as columns."""

INSERTING = """
schedule AS (
  INSERT INTO tenant_extension_schedule
    (id, install_id, tenant_id, endpoint_id, name, cron, timezone, enabled, payload_json,
     job_id, runner_schedule_id, created_at, updated_at, revision, missing_endpoint)
  SELECT schedule_id, install_id, tenant_id, endpoint_id, name, cron, timezone, enabled, payload,
    CASE WHEN enabled THEN schedule_id END,
    CASE WHEN enabled THEN 'extsched:' || install_id::text || ':' || schedule_id::text END,
    at, at, 1, false
  FROM new_rows
), timer AS (
  INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
  SELECT tenant_id, schedule_id, install_id, cron, timezone, due_at
  FROM new_rows WHERE due_at IS NOT NULL
)
"""
"""The inserts of schedules and their timers, for a WITH in which ``new_rows`` has their columns."""

_INSERTED = {"tenant_id": "text", "install_id": "uuid", "schedule_id": "uuid", "at": "timestamptz"}
INSERT = f"WITH new_rows AS ({one_row({**_INSERTED, **NEW_COLUMNS})}), {INSERTING} SELECT"

# Whoever wrote the row: from now on it is driven from here, and says so.
UPDATE = """
UPDATE tenant_extension_schedule s SET
  endpoint_id = CASE WHEN 'endpoint' = ANY ($4::text[]) THEN $5::uuid ELSE s.endpoint_id END,
  name = CASE WHEN 'name' = ANY ($4) THEN $6::text ELSE s.name END,
  cron = CASE WHEN 'cron' = ANY ($4) THEN $7::text ELSE s.cron END,
  timezone = CASE WHEN 'timezone' = ANY ($4) THEN $8::text ELSE s.timezone END,
  payload_json = CASE WHEN 'payload' = ANY ($4) THEN $9::text::jsonb ELSE s.payload_json END,
  enabled = CASE WHEN 'enabled' = ANY ($4) THEN $10::boolean ELSE s.enabled END,
  job_id = CASE WHEN $10 THEN s.id END,
  runner_schedule_id =
    CASE WHEN $10 THEN 'extsched:' || s.install_id::text || ':' || s.id::text END,
  released = NULL,
  missing_endpoint = s.missing_endpoint AND NOT 'enabled' = ANY ($4),
  failures = CASE WHEN 'enabled' = ANY ($4) AND $10 THEN NULL ELSE s.failures END,
  failing_since = CASE WHEN 'enabled' = ANY ($4) AND $10 THEN NULL ELSE s.failing_since END,
  disabled_after = CASE WHEN 'enabled' = ANY ($4) THEN NULL ELSE s.disabled_after END,
  revision = coalesce(s.revision, 1) + 1,
  updated_at = $11::timestamptz
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid AND s.id = $3::uuid
"""

SET_TIMER = """
INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
VALUES ($1::text, $2::uuid, $3::uuid, $4::text, $5::text, $6::timestamptz)
ON CONFLICT (tenant_id, schedule_id) DO UPDATE SET
  cron = excluded.cron, timezone = excluded.timezone, due_at = excluded.due_at, missed = 0
"""

_ONE = {"tenant_ids": "ARRAY [$1::text]", "schedule_ids": "ARRAY [$3::uuid]"}
DELETE = f"""
WITH timer AS ({timers.REMOVAL.format(**_ONE)})
DELETE FROM tenant_extension_schedule
WHERE tenant_id = $1 AND install_id = $2::uuid AND id = $3
"""


class Schedule(Struct, frozen=True):
    """A schedule row with its endpoint and timer; ``payload`` is JSON text, times are in UTC.

    The endpoint members are None where its row is gone, ``next_run_at`` where there is no timer
    of ours. ``driven_by_other``: another job runner fires it, or is to take it up.
    """

    id: UUID
    endpoint_id: UUID | None
    endpoint_method: str | None
    endpoint_path: str | None
    endpoint_version_id: UUID | None
    name: str | None
    cron: str
    timezone: str
    enabled: bool
    payload: str | None
    last_run_at: datetime | None
    last_run_status: str | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    next_run_at: datetime | None
    revision: int
    missing_endpoint: bool
    job_id: UUID | None
    runner_schedule_id: str | None
    driven_by_other: bool


class NewSchedule(Struct, frozen=True):
    """What a new row is made of; ``due_at`` is None for a disabled one."""

    id: UUID
    endpoint_id: UUID | None
    name: str | None
    cron: str
    timezone: str
    enabled: bool
    payload: str | None
    due_at: datetime | None


def _in_utc(at: datetime | None) -> datetime | None:
    # The platform made some of these columns without a zone; they hold UTC.
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def from_columns(row: asyncpg.Record) -> Schedule | None:
    """Read the columns of ``COLUMNS``; None where an outer join found no schedule."""
    if row["id"] is None:
        return None
    values: dict[str, Any] = {name: row[name] for name in Schedule.__struct_fields__}
    for name in ("last_run_at", "created_at", "updated_at", "next_run_at"):
        values[name] = _in_utc(values[name])
    values["created_at"] = values["created_at"] or datetime.fromtimestamp(0, UTC)
    values["updated_at"] = values["updated_at"] or values["created_at"]
    values["timezone"] = values["timezone"] or "UTC"
    return Schedule(**values)


def values(new: NewSchedule) -> tuple[object, ...]:
    """Return the columns of ``NEW_COLUMNS``."""
    return structs.astuple(new)[1:]


async def insert(connection: Connection, install: Install, new: NewSchedule, now: datetime) -> None:
    """Insert a schedule, and its timer if it is enabled."""
    await connection.execute(INSERT, install.tenant_id, install.id, new.id, now, *values(new))


async def update(
    connection: Connection,
    install: Install,
    new: NewSchedule,
    changed: Sequence[str],
    now: datetime,
) -> None:
    """Write the ``changed`` fields of ``new`` (wire names) and raise the revision by one."""
    await connection.execute(
        UPDATE,
        install.tenant_id,
        install.id,
        new.id,
        changed,
        new.endpoint_id,
        new.name,
        new.cron,
        new.timezone,
        new.payload,
        new.enabled,
        now,
    )


async def set_timer(connection: Connection, install: Install, new: NewSchedule) -> None:
    """Make the timer what ``new`` says: due at ``due_at``, or none."""
    if new.due_at is None:
        await timers.remove(connection, [(install.tenant_id, new.id)])
        return
    await connection.execute(
        SET_TIMER, install.tenant_id, new.id, install.id, new.cron, new.timezone, new.due_at
    )


async def delete(connection: Connection, install: Install, schedule_id: UUID) -> None:
    """Delete a schedule and its timer."""
    await connection.execute(DELETE, install.tenant_id, install.id, schedule_id)
