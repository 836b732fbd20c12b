"""Schedules for their owner: the hot read, so what PostgreSQL writes is not parsed again.

Instants come as the wire's text: making a datetime of each, and a text of that, cost more than the
rest of a row.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.engine.parameters import many_rows
from service.storage.platform.installs import RIGHTS, RIGHTS_COLUMNS, RIGHTS_FROM, Install, from_row
from service.storage.schedules.ownership import DRIVEN_BY_OTHER


def _instant(column: str) -> str:
    # Columns that the platform made without a zone hold UTC, and so does the session.
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


_CREATED = "coalesce(s.created_at, 'epoch')"

_COLUMNS = f"""
  s.id::text AS id,
  coalesce(e.path, '') AS endpoint_path, coalesce(e.method, '') AS endpoint_method,
  s.name, s.cron, coalesce(nullif(s.timezone, ''), 'UTC') AS timezone,
  coalesce(s.enabled, false) AS enabled, {{payload}} AS payload,
  {_instant("s.last_run_at")} AS last_run_at, s.last_run_status, s.last_error,
  {_instant(_CREATED)} AS created_at,
  {_instant(f"coalesce(s.updated_at, {_CREATED})")} AS updated_at,
  CASE WHEN s.enabled AND NOT {DRIVEN_BY_OTHER} THEN {_instant("t.due_at")} END AS next_run_at,
  coalesce(s.revision, 1) AS revision
"""

COLUMNS = _COLUMNS.format(payload="s.payload_json::text")

LARGE_PAYLOAD_BYTES = 2_000
"""Bytes, as stored. A payload of more lies outside its row, and a few of them are megabytes."""

# No JSON text is empty, so an empty one can stand for a payload that is too large.
SMALL_COLUMNS = _COLUMNS.format(
    payload=f"CASE WHEN pg_column_size(s.payload_json) > {LARGE_PAYLOAD_BYTES} THEN ''"
    " ELSE s.payload_json::text END"
)

JOINS = """
  LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id
  LEFT JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
"""

LIST_WITH_INSTALL = f"""
SELECT {RIGHTS_COLUMNS}, {COLUMNS}
{RIGHTS_FROM}
LEFT JOIN tenant_extension_schedule s ON s.tenant_id = i.tenant_id AND s.install_id = i.id
{JOINS}
WHERE i.tenant_id = $1::text AND i.id = $2::uuid
ORDER BY s.created_at, s.id
"""

# An install's rights are told once: in each row of its schedules they would be a third of it.
_FIRST = "row_number() OVER (PARTITION BY given.place ORDER BY s.created_at, s.id) = 1"
_RIGHTS_ONCE = ", ".join(
    f"CASE WHEN {_FIRST} THEN {expression} END AS {name}" for name, expression in RIGHTS.items()
)

LIST_MANY = f"""
SELECT given.place, {_RIGHTS_ONCE}, {SMALL_COLUMNS}
{RIGHTS_FROM}
JOIN {many_rows({"tenant_id": "text", "install_id": "uuid"})}
  ON i.tenant_id = given.tenant_id AND i.id = given.install_id
LEFT JOIN tenant_extension_schedule s ON s.tenant_id = i.tenant_id AND s.install_id = i.id
{JOINS}
ORDER BY given.place, s.created_at, s.id
"""

GET_WITH_INSTALL = f"""
SELECT {RIGHTS_COLUMNS}, {COLUMNS}
{RIGHTS_FROM}
LEFT JOIN tenant_extension_schedule s
  ON s.tenant_id = i.tenant_id AND s.install_id = i.id AND s.id = $3::uuid
{JOINS}
WHERE i.tenant_id = $1::text AND i.id = $2::uuid
"""


class ScheduleView(Struct, frozen=True):
    """A schedule in the order of ``COLUMNS``; instants are texts, ``payload`` is JSON text.

    The endpoint members are empty where its row is gone.
    """

    id: str
    endpoint_path: str
    endpoint_method: str
    name: str | None
    cron: str
    timezone: str
    enabled: bool
    payload: str | None
    last_run_at: str | None
    last_run_status: str | None
    last_error: str | None
    created_at: str
    updated_at: str
    next_run_at: str | None
    revision: int


_COUNT = len(ScheduleView.__struct_fields__)


async def list_with_install(
    connection: Connection, tenant_id: str, install_id: UUID
) -> tuple[Install, list[ScheduleView]] | None:
    """Return the install and its schedules by creation time, then id; None without install."""
    rows = await connection.fetch(LIST_WITH_INSTALL, tenant_id, install_id)
    if not rows:
        return None
    views = [view for row in rows if (view := _from_columns(row)) is not None]
    return from_row(rows[0]), views


async def list_many(
    connection: Connection, tenant_ids: Sequence[str | None], install_ids: Sequence[UUID]
) -> list[tuple[Install, list[ScheduleView] | None] | None]:
    """Return each of these installs with its schedules, in order, as ``list_with_install`` does.

    None in place of schedules with a payload larger than ``LARGE_PAYLOAD_BYTES``: such a list is
    better read alone.
    """
    matches: list[tuple[Install, list[ScheduleView]] | None] = [None] * len(install_ids)
    large: set[int] = set()
    for row in await connection.fetch(LIST_MANY, tenant_ids, install_ids):
        index = row[0] - 1
        match = matches[index]
        if match is None:
            match = matches[index] = from_row(row), []
        if (view := _from_columns(row)) is not None:
            match[1].append(view)
            if view.payload == "":
                large.add(index)
    return [
        (match[0], None) if match is not None and index in large else match
        for index, match in enumerate(matches)
    ]


async def get_with_install(
    connection: Connection, tenant_id: str, install_id: UUID, schedule_id: UUID | None
) -> tuple[Install, ScheduleView | None] | None:
    """Return the install and one of its schedules, if it has it; None without install."""
    row = await connection.fetchrow(GET_WITH_INSTALL, tenant_id, install_id, schedule_id)
    return None if row is None else (from_row(row), _from_columns(row))


def _from_columns(row: asyncpg.Record) -> ScheduleView | None:
    """Read ``COLUMNS``, the last of the row; None where an outer join found no schedule."""
    return None if row["id"] is None else ScheduleView(*row[-_COUNT:])
