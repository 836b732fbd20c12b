"""The records of an admin change: stored result, audit entries, events."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.records import audit, outbox
from service.storage.records.audit import NewAuditEntry
from service.storage.records.outbox import OutboxEvent
from service.storage.records.replay import Replay

# Equal requests wait here for each other: the second then finds the stored result of the first.
LOCK_TEXT = "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))"

BEGIN = """
SELECT clock_timestamp() AS now, r.op, r.body_sha256, r.result
FROM (SELECT 1) AS one
LEFT JOIN ext_scheduler.idempotency r
  ON r.tenant_id = $1::text AND r.scope = $2::text AND r.jti = $3::uuid
"""

STORE_RESULT = """
INSERT INTO ext_scheduler.idempotency
  (tenant_id, scope, jti, op, body_sha256, result, created_at, install_id)
VALUES ($1::text, $2::text, $3::uuid, $4::text, $5::text, $6::bytea, $7::timestamptz, $8::uuid)
"""


class AuditChange(Struct, frozen=True):
    """The change of one audit entry; ``changes`` is JSON text."""

    tenant_id: str
    install_id: UUID | None
    schedule_id: UUID | None
    changes: str


class AdminChangeRecord(Struct, frozen=True, kw_only=True):
    """An admin change. ``tenant_id`` is the token's: a replay is looked up by it."""

    tenant_id: str
    scope: str
    jti: UUID
    op: str
    body_sha256: str
    result: bytes
    install_id: UUID | None
    actor: str
    entries: Sequence[AuditChange]
    events: Sequence[OutboxEvent]


async def lock_text(connection: Connection, text: str) -> None:
    """Lock a name until the transaction ends."""
    await connection.execute(LOCK_TEXT, text)


async def begin(
    connection: Connection, tenant_id: str, scope: str, jti: UUID
) -> tuple[datetime, Replay | None]:
    """Wait for equal requests; return the time, and the result that one of them stored."""
    await lock_text(connection, f"{tenant_id}/{scope}/{jti}")
    row = await connection.fetchrow(BEGIN, tenant_id, scope, jti)
    assert row is not None  # noqa: S101 - the statement selects from one row
    replay = None
    if row["op"] is not None:
        replay = Replay(row["op"], row["body_sha256"], row["result"])
    return row["now"], replay


async def record(connection: Connection, record: AdminChangeRecord, now: datetime) -> None:
    """Write the records of a change, in its own transaction."""
    await connection.execute(
        STORE_RESULT,
        record.tenant_id,
        record.scope,
        record.jti,
        record.op,
        record.body_sha256,
        record.result,
        now,
        record.install_id,
    )
    await audit.insert(
        connection,
        [
            NewAuditEntry(
                tenant_id=entry.tenant_id,
                install_id=entry.install_id,
                schedule_id=entry.schedule_id,
                op=record.op,
                trigger="admin",
                actor=record.actor,
                request_id=str(record.jti),
                changes=entry.changes,
            )
            for entry in record.entries
        ],
        now,
    )
    await outbox.insert(connection, record.events, now)
