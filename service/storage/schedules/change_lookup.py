"""What a change looks up, and what it leaves behind in addition to the change itself."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct, structs

from service.storage.engine.connection import Connection
from service.storage.engine.parameters import one_row, parameters
from service.storage.records import audit, outbox
from service.storage.records.replay import Replay
from service.storage.schedules.rows import (
    COLUMNS,
    JOINS,
    Schedule,
    from_columns,
)

LOOKUP_COLUMNS = {
    "tenant_id": "text",
    "install_id": "uuid",
    "scope": "text",
    "jti": "uuid",
    "version_id": "uuid",
    "name": "text",
    "path": "text",
}
"""A ``LookupQuery`` but for the schedule, as columns."""


def lookups(q: Mapping[str, str]) -> str:
    """Select what is true of an install; ``q`` says where the columns of ``LOOKUP_COLUMNS`` are.

    Paths are compared after the rule for paths: trimmed, one leading slash, runs of slashes as one;
    most are in that form already. A version without any endpoint gives no array members at all.
    Rows without a type of their own do not travel between nodes: hence an array, and texts.
    """
    return f"""
  clock_timestamp() AS now,
  (SELECT ARRAY [convert_to(r.op, 'UTF8'), convert_to(r.body_sha256, 'UTF8'), r.result]
    FROM ext_scheduler.idempotency r
    WHERE r.tenant_id = {q["tenant_id"]} AND r.scope = {q["scope"]} AND r.jti = {q["jti"]}
    ) AS replay,
  (SELECT w.accepted FROM ext_scheduler.rate_windows w
    WHERE w.tenant_id = {q["tenant_id"]} AND w.scope = {q["scope"]}) AS accepted,
  (SELECT count(*) FROM tenant_extension_schedule n
    WHERE n.tenant_id = {q["tenant_id"]} AND n.install_id = {q["install_id"]}) AS schedules,
  (SELECT n.id FROM tenant_extension_schedule n
    WHERE n.tenant_id = {q["tenant_id"]} AND n.install_id = {q["install_id"]}
      AND n.name = {q["name"]}) AS name_holder,
  ARRAY (SELECT CASE WHEN p.path = {q["path"]}
      OR ((p.path NOT LIKE '/%' OR p.path LIKE '%//%' OR p.path LIKE '% ')
        AND regexp_replace('/' || btrim(p.path), '/+', '/', 'g') = {q["path"]})
      THEN p.id::text || upper(btrim(p.method)) END
    FROM extension_api_endpoint p WHERE p.version_id = {q["version_id"]}) AS endpoints
"""


# Parameters, not columns made of them: on several nodes no lookup may depend on another table.
LOAD = f"""
SELECT {lookups(parameters({**LOOKUP_COLUMNS, "schedule_id": "uuid"}))}, {COLUMNS}
FROM (SELECT) AS nothing
LEFT JOIN (
  SELECT * FROM tenant_extension_schedule
  WHERE tenant_id = $1 AND install_id = $2 AND id = $8::uuid) AS s ON true
{JOINS}
"""

UUID_LENGTH = 36

RECORD_COLUMNS = {
    "tenant_id": "text",
    "install_id": "uuid",
    "schedule_id": "uuid",
    "scope": "text",
    "jti": "uuid",
    "op": "text",
    "body_sha256": "text",
    "result": "bytea",
    "actor": "text",
    "changes": "jsonb",
    "event": "text",
    "data": "jsonb",
    "at": "timestamptz",
}
"""A ``ChangeRecord`` but for ``accepted``, as columns."""

_ENTRIES = "(SELECT *, 'host_api' AS trigger, jti::text AS request_id FROM new_rows) AS entries"
_EVENTS = "(SELECT *, event AS type, NULL::uuid AS run_id FROM new_rows) AS events"

RECORDING = f"""
replay AS (
  INSERT INTO ext_scheduler.idempotency
    (tenant_id, scope, jti, op, body_sha256, result, created_at)
  SELECT tenant_id, scope, jti, op, body_sha256, result, at FROM new_rows
), entry AS (
  {audit.INSERTION.format(rows=_ENTRIES)}
), event AS (
  {outbox.INSERTION.format(rows=_EVENTS)}
)
INSERT INTO ext_scheduler.rate_windows (tenant_id, scope, accepted, updated_at)
SELECT tenant_id, scope, accepted, at FROM new_rows
ON CONFLICT (tenant_id, scope) DO UPDATE
  SET accepted = excluded.accepted, updated_at = excluded.updated_at
"""
"""What changes leave behind, for a WITH in which ``new_rows`` has the columns and ``accepted``."""

WRITTEN_COLUMNS = {**RECORD_COLUMNS, "accepted": "timestamptz[]"}
RECORD = f"WITH new_rows AS ({one_row(WRITTEN_COLUMNS)}), {RECORDING}"


class ChangeLookup(Struct, frozen=True):
    """What is true under the install's lock. ``endpoints`` are (id, method) at the path."""

    now: datetime
    replay: Replay | None
    accepted: Sequence[datetime]
    schedules: int
    name_holder: UUID | None
    materialised: bool
    endpoints: Sequence[tuple[UUID, str]]
    schedule: Schedule | None = None


class LookupQuery(Struct, frozen=True, kw_only=True):
    """What to look up: a name taken, a path declared, a schedule; None where it does not matter."""

    tenant_id: str
    install_id: UUID
    scope: str
    jti: UUID
    version_id: UUID
    name: str | None = None
    path: str | None = None
    schedule_id: UUID | None = None


class ChangeRecord(Struct, frozen=True, kw_only=True):
    """A host change's replay record, audit entry, event and rate window.

    ``changes`` and the event's ``data`` are JSON text, ``result`` is MessagePack.
    """

    tenant_id: str
    install_id: UUID
    schedule_id: UUID
    scope: str
    jti: UUID
    op: str
    body_sha256: str
    result: bytes
    actor: str
    changes: str
    event: str
    data: str
    at: datetime
    accepted: Sequence[datetime]


def query_values(query: LookupQuery) -> tuple[object, ...]:
    """Return the columns of ``LOOKUP_COLUMNS``, and the schedule's id."""
    return structs.astuple(query)


def record_values(record: ChangeRecord) -> tuple[object, ...]:
    """Return the columns of ``RECORD_COLUMNS``, and ``accepted``."""
    return structs.astuple(record)


def _replay(op: bytes, body_sha256: bytes, result: bytes) -> Replay:
    return Replay(op.decode(), body_sha256.decode(), result)


def from_lookups(row: asyncpg.Record, schedule: Schedule | None = None) -> ChangeLookup:
    """Read the columns that ``lookups`` selects."""
    return ChangeLookup(
        now=row["now"],
        replay=None if row["replay"] is None else _replay(*row["replay"]),
        accepted=row["accepted"] or (),
        schedules=row["schedules"],
        name_holder=row["name_holder"],
        materialised=bool(row["endpoints"]),
        endpoints=[
            (UUID(text[:UUID_LENGTH]), text[UUID_LENGTH:])
            for text in row["endpoints"]
            if text is not None
        ],
        schedule=schedule,
    )


async def load(connection: Connection, query: LookupQuery) -> ChangeLookup:
    """Look everything up in one statement; call it with the install's row locked."""
    row = await connection.fetchrow(LOAD, *query_values(query))
    assert row is not None  # noqa: S101 - the statement selects from one row
    return from_lookups(row, from_columns(row))


async def record(connection: Connection, record: ChangeRecord) -> None:
    """Write what the change leaves behind, in the change's own transaction."""
    await connection.execute(RECORD, *record_values(record))
