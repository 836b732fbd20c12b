"""What a change needs to know, and what it leaves behind besides the change itself."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.connection import Connection
from service.storage.schedules import (
    COLUMNS,
    JOINS,
    NewSchedule,
    Schedule,
    from_columns,
    inserting,
    values,
)

# Paths are compared after the rule for paths: trimmed, one leading slash, runs of slashes as one.
LOAD = rf"""
SELECT clock_timestamp() AS now,
  r.op AS replay_op, r.body_sha256 AS replay_body, r.result AS replay_result,
  w.accepted,
  (SELECT count(*) FROM tenant_extension_schedule n
    WHERE n.tenant_id = $1::text AND n.install_id = $2::uuid) AS schedules,
  (SELECT n.id FROM tenant_extension_schedule n
    WHERE n.tenant_id = $1 AND n.install_id = $2 AND n.name = $6::text) AS name_holder,
  EXISTS (SELECT FROM extension_api_endpoint p WHERE p.version_id = $7::uuid) AS materialised,
  ARRAY (SELECT ROW (p.id, upper(btrim(p.method))) FROM extension_api_endpoint p
    WHERE p.version_id = $7
      AND regexp_replace('/' || btrim(p.path), '/+', '/', 'g') = $8::text) AS endpoints,
  {COLUMNS}
FROM (SELECT 1) AS one
LEFT JOIN ext_scheduler.idempotency r
  ON r.tenant_id = $1 AND r.scope = $3::text AND r.jti = $4::uuid
LEFT JOIN ext_scheduler.rate_windows w ON w.tenant_id = $1 AND w.scope = $3
LEFT JOIN tenant_extension_schedule s
  ON s.tenant_id = $1 AND s.install_id = $2 AND s.id = $5::uuid
{JOINS}
"""

_RECORD = """
replay AS (
  INSERT INTO ext_scheduler.idempotency
    (tenant_id, scope, jti, op, body_sha256, result, created_at)
  VALUES ($1::text, $2::text, $3::uuid, $4::text, $5::text, $6::bytea, $7::timestamptz)
), entry AS (
  INSERT INTO ext_scheduler.audit
    (tenant_id, at, install_id, schedule_id, op, trigger, actor, request_id, changes)
  VALUES ($1, $7, $8::uuid, $9::uuid, $4, $10::text, $11::text, $3::text, $12::text::jsonb)
), event AS (
  INSERT INTO ext_scheduler.outbox (tenant_id, install_id, schedule_id, type, at, data)
  SELECT $1, $8, e.schedule_id, e.type, $7, e.data::jsonb
  FROM unnest($13::text[], $14::uuid[], $15::text[]) AS e (type, schedule_id, data)
)
INSERT INTO ext_scheduler.rate_windows (tenant_id, scope, accepted, updated_at)
SELECT $1, $2, $16::timestamptz[], $7 WHERE $16 IS NOT NULL
ON CONFLICT (tenant_id, scope) DO UPDATE
  SET accepted = excluded.accepted, updated_at = excluded.updated_at
"""
RECORD = f"WITH {_RECORD}"
# Each statement is a round trip, and the install stays locked meanwhile.
RECORD_CREATED = f"WITH {inserting('$1', '$8', '$9', '$7', first=17)}, {_RECORD}"


class Replay(Struct, frozen=True):
    """The stored outcome of an earlier request with the same jti; ``result`` is MessagePack."""

    op: str
    body_sha256: str
    result: bytes


class Loaded(Struct, frozen=True):
    """What is true under the install's lock. ``endpoints`` are (id, method) at the path."""

    now: datetime
    replay: Replay | None
    accepted: Sequence[datetime]
    schedules: int
    name_holder: UUID | None
    materialised: bool
    endpoints: Sequence[tuple[UUID, str]]
    schedule: Schedule | None


class Question(Struct, frozen=True):
    """What to look up: a name taken, a path declared, a schedule; None where it does not matter."""

    scope: str
    jti: UUID
    version_id: UUID
    schedule_id: UUID | None = None
    name: str | None = None
    path: str | None = None


class Event(Struct, frozen=True):
    """One event of a change; ``data`` is JSON text."""

    type: str
    schedule_id: UUID | None
    data: str


class Record(Struct, frozen=True, kw_only=True):
    """A change's replay record, audit entry, events and (for host changes) rate window."""

    scope: str
    jti: UUID
    op: str
    body_sha256: str
    result: bytes
    trigger: str
    actor: str
    install_id: UUID | None
    schedule_id: UUID | None
    changes: str
    events: Sequence[Event]
    accepted: Sequence[datetime] | None


async def load(
    connection: Connection, tenant_id: str, install_id: UUID, question: Question
) -> Loaded:
    """Look everything up in one statement; call it with the install's row locked."""
    row = await connection.fetchrow(
        LOAD,
        tenant_id,
        install_id,
        question.scope,
        question.jti,
        question.schedule_id,
        question.name,
        question.version_id,
        question.path,
    )
    assert row is not None  # noqa: S101 -- the statement selects from one row
    replay = None
    if row["replay_op"] is not None:
        replay = Replay(row["replay_op"], row["replay_body"], row["replay_result"])
    return Loaded(
        now=row["now"],
        replay=replay,
        accepted=row["accepted"] or (),
        schedules=row["schedules"],
        name_holder=row["name_holder"],
        materialised=row["materialised"],
        endpoints=[(found[0], found[1]) for found in row["endpoints"]],
        schedule=from_columns(row),
    )


async def record(
    connection: Connection,
    tenant_id: str,
    record: Record,
    now: datetime,
    new: NewSchedule | None = None,
) -> None:
    """Write what the change leaves behind, in the change's own transaction.

    With ``new``, write that schedule (the record's ``schedule_id``) and its timer as well.
    """
    await connection.execute(
        RECORD if new is None else RECORD_CREATED,
        tenant_id,
        record.scope,
        record.jti,
        record.op,
        record.body_sha256,
        record.result,
        now,
        record.install_id,
        record.schedule_id,
        record.trigger,
        record.actor,
        record.changes,
        [event.type for event in record.events],
        [event.schedule_id for event in record.events],
        [event.data for event in record.events],
        record.accepted,
        *(() if new is None else values(new)),
    )
