"""What an admin change leaves behind: its replay record, its audit entries, its events."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules.change_context import Replay

# Equal requests wait here for each other: the second then finds what the first has stored.
LOCK_TEXT = "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))"

BEGIN = """
SELECT clock_timestamp() AS now, r.op, r.body_sha256, r.result
FROM (SELECT 1) AS one
LEFT JOIN ext_scheduler.idempotency r
  ON r.tenant_id = $1::text AND r.scope = $2::text AND r.jti = $3::uuid
"""

REMEMBER = """
INSERT INTO ext_scheduler.idempotency
  (tenant_id, scope, jti, op, body_sha256, result, created_at, install_id)
VALUES ($1::text, $2::text, $3::uuid, $4::text, $5::text, $6::bytea, $7::timestamptz, $8::uuid)
"""

AUDIT = """
INSERT INTO ext_scheduler.audit
  (tenant_id, at, install_id, schedule_id, op, trigger, actor, request_id, changes)
SELECT e.tenant_id, $1::timestamptz, e.install_id, e.schedule_id, $2::text, 'admin', $3::text,
  $4::text, e.changes::jsonb
FROM unnest($5::text[], $6::uuid[], $7::uuid[], $8::text[])
  AS e (tenant_id, install_id, schedule_id, changes)
"""

EVENTS = """
INSERT INTO ext_scheduler.outbox (tenant_id, install_id, schedule_id, type, at, data)
SELECT e.tenant_id, e.install_id, e.schedule_id, e.type, $1::timestamptz, e.data::jsonb
FROM unnest($2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::text[])
  AS e (tenant_id, install_id, schedule_id, type, data)
"""


class Entry(Struct, frozen=True):
    """One audit entry; ``changes`` is JSON text."""

    tenant_id: str
    install_id: UUID | None
    schedule_id: UUID | None
    changes: str


class Told(Struct, frozen=True):
    """One event; ``data`` is JSON text."""

    tenant_id: str
    install_id: UUID
    schedule_id: UUID | None
    type: str
    data: str


class Record(Struct, frozen=True, kw_only=True):
    """A change. ``tenant_id`` is the token's, under which it is looked up again."""

    tenant_id: str
    scope: str
    jti: UUID
    op: str
    body_sha256: str
    result: bytes
    install_id: UUID | None
    actor: str
    entries: Sequence[Entry]
    events: Sequence[Told]


async def lock_text(connection: Connection, text: str) -> None:
    """Hold a lock of this name until the transaction ends."""
    await connection.execute(LOCK_TEXT, text)


async def begin(
    connection: Connection, tenant_id: str, scope: str, jti: UUID
) -> tuple[datetime, Replay | None]:
    """Wait for equal requests; return the time, and what one of them has stored."""
    await lock_text(connection, f"{tenant_id}/{scope}/{jti}")
    row = await connection.fetchrow(BEGIN, tenant_id, scope, jti)
    assert row is not None  # noqa: S101 -- the statement selects from one row
    replay = None
    if row["op"] is not None:
        replay = Replay(row["op"], row["body_sha256"], row["result"])
    return row["now"], replay


async def record(connection: Connection, record: Record, now: datetime) -> None:
    """Write what the change leaves behind, in the change's own transaction."""
    await connection.execute(
        REMEMBER,
        record.tenant_id,
        record.scope,
        record.jti,
        record.op,
        record.body_sha256,
        record.result,
        now,
        record.install_id,
    )
    await connection.execute(
        AUDIT,
        now,
        record.op,
        record.actor,
        str(record.jti),
        [entry.tenant_id for entry in record.entries],
        [entry.install_id for entry in record.entries],
        [entry.schedule_id for entry in record.entries],
        [entry.changes for entry in record.entries],
    )
    if record.events:
        await connection.execute(
            EVENTS,
            now,
            [event.tenant_id for event in record.events],
            [event.install_id for event in record.events],
            [event.schedule_id for event in record.events],
            [event.type for event in record.events],
            [event.data for event in record.events],
        )
