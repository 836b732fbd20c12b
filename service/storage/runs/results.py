"""What the end of a run leaves on its schedule and tells the world, in its own transaction."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from service.storage.engine.connection import Connection
from service.storage.records import audit, outbox
from service.storage.records.audit import NewAuditEntry
from service.storage.records.outbox import OutboxEvent
from service.storage.runs.attempts import Ended
from service.storage.runs.occurrences import slot_text
from service.storage.schedules.disabling import disable

LOCK_SCHEDULES = """
SELECT FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, id)
JOIN tenant_extension_schedule s ON s.id = w.id AND s.tenant_id = w.tenant_id
ORDER BY s.id
FOR NO KEY UPDATE OF s
"""

LAST_RUN = """
UPDATE tenant_extension_schedule s
SET last_run_at = e.started_at, last_run_status = e.status, last_error = e.error,
  last_run_slot = e.slot
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[])
  AS e (tenant_id, schedule_id, slot, started_at, status, error)
WHERE s.id = e.schedule_id AND s.tenant_id = e.tenant_id
  AND (s.last_run_slot IS NULL OR s.last_run_slot <= e.slot)
"""


async def lock_schedules(connection: Connection, endings: Sequence[Ended]) -> None:
    """Lock the rows that ``record`` may write, in one order, before anything else is locked.

    Without it all goes as well, but for a deadlock now and then, which is written anew.
    """
    recorded = [e.run for e in endings if e.recorded]
    if recorded:
        await connection.execute(
            LOCK_SCHEDULES,
            [run.tenant_id for run in recorded],
            [run.schedule_id for run in recorded],
        )


async def record(connection: Connection, endings: Sequence[Ended], now: datetime) -> None:
    """Write last-run fields, disable what has lost its endpoint, and leave events."""
    recorded = [ended for ended in endings if ended.recorded]
    if not recorded:
        return
    newest = {e.run.schedule_id: e for e in sorted(recorded, key=lambda e: e.run.slot)}.values()
    await connection.execute(
        LAST_RUN,
        [e.run.tenant_id for e in newest],
        [e.run.schedule_id for e in newest],
        [e.run.slot for e in newest],
        [e.run.started_at for e in newest],
        [e.status for e in newest],
        [e.error for e in newest],
    )
    events = [_event(ended) for ended in recorded]
    if any(ended.disable for ended in recorded):
        events += await _disable(connection, [e for e in recorded if e.disable], now)
    await outbox.insert(connection, events, now)


def _event(ended: Ended) -> OutboxEvent:
    run = ended.run
    data = {
        "slot": slot_text(run.slot),
        "trigger": run.trigger,
        "attempts": run.attempts,
        "durationMs": ended.duration_ms,
        "httpStatus": ended.http_status,
    }
    if ended.error is not None:
        data["error"] = ended.error
    return OutboxEvent(
        tenant_id=run.tenant_id,
        install_id=run.install_id,
        schedule_id=run.schedule_id,
        run_id=run.id,
        type="run.succeeded" if ended.status == "success" else "run.failed",
        data=msgspec.json.encode(data).decode(),
    )


async def _disable(
    connection: Connection, endings: Sequence[Ended], now: datetime
) -> list[OutboxEvent]:
    """Disable the schedules that still lack their endpoint; return the events that report it."""
    by_schedule = {(e.run.tenant_id, e.run.schedule_id): e for e in endings}
    disabled = await disable(
        connection,
        {key: ended.error for key, ended in by_schedule.items()},
        now,
        only_without_endpoint=True,
        raise_revision=False,
    )
    entries, events = [], []
    for ref in disabled:
        ended = by_schedule[ref.tenant_id, ref.schedule_id]
        entries.append(
            NewAuditEntry(
                tenant_id=ref.tenant_id,
                install_id=ref.install_id,
                schedule_id=ref.schedule_id,
                op="disable",
                trigger="service",
                actor="worker",
                request_id=str(ended.run.id),
                changes='{"enabled": [true, false]}',
            )
        )
        events.append(
            OutboxEvent(
                tenant_id=ref.tenant_id,
                install_id=ref.install_id,
                schedule_id=ref.schedule_id,
                type="schedule.disabled",
                data=msgspec.json.encode({"error": ended.error}).decode(),
            )
        )
    await audit.insert(connection, entries, now)
    return events
