"""What the end of a run writes to its schedule, audit and outbox, in the run's transaction."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from service.storage.engine.connection import Connection
from service.storage.records import audit, outbox
from service.storage.records.audit import NewAuditEntry
from service.storage.records.outbox import OutboxEvent
from service.storage.runs.occurrences import slot_text
from service.storage.runs.updates import RunUpdate
from service.storage.schedules.disabling import disable

LOCK_SCHEDULES = """
SELECT FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, id)
JOIN tenant_extension_schedule s ON s.id = w.id AND s.tenant_id = w.tenant_id
ORDER BY s.id
FOR NO KEY UPDATE OF s
"""

# In the order of slots; a slot that is still to come was left by a clock that was ahead.
LAST_RUN = """
UPDATE tenant_extension_schedule s
SET last_run_at = e.started_at, last_run_status = e.status, last_error = e.error,
  last_run_slot = e.slot
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[])
  AS e (tenant_id, schedule_id, slot, started_at, status, error)
WHERE s.id = e.schedule_id AND s.tenant_id = e.tenant_id
  AND (s.last_run_slot IS NULL OR s.last_run_slot <= e.slot OR s.last_run_slot > $7::timestamptz)
"""


async def lock_schedules(connection: Connection, updates: Sequence[RunUpdate]) -> None:
    """Lock the rows that ``record`` may write, in one order, before anything else is locked.

    Without it the results are the same, but for a deadlock now and then, which is retried.
    """
    recorded = [update.run for update in updates if update.recorded]
    if recorded:
        await connection.execute(
            LOCK_SCHEDULES,
            [run.tenant_id for run in recorded],
            [run.schedule_id for run in recorded],
        )


async def record(connection: Connection, updates: Sequence[RunUpdate], now: datetime) -> None:
    """Write last-run fields and events, and disable schedules that have lost their endpoint."""
    recorded = [update for update in updates if update.recorded]
    if not recorded:
        return
    by_slot = sorted(recorded, key=lambda update: update.run.slot)
    newest = {update.run.schedule_id: update for update in by_slot}.values()
    await connection.execute(
        LAST_RUN,
        [update.run.tenant_id for update in newest],
        [update.run.schedule_id for update in newest],
        [update.run.slot for update in newest],
        [update.run.started_at for update in newest],
        [update.status for update in newest],
        [update.error for update in newest],
        now,
    )
    events = [_event(update) for update in recorded]
    if any(update.disable for update in recorded):
        events += await _disable(connection, [update for update in recorded if update.disable], now)
    await outbox.insert(connection, events, now)


def _event(update: RunUpdate) -> OutboxEvent:
    run = update.run
    data = {
        "slot": slot_text(run.slot),
        "trigger": run.trigger,
        "attempts": run.attempts,
        "durationMs": update.duration_ms,
        "httpStatus": update.http_status,
    }
    if update.error is not None:
        data["error"] = update.error
    return OutboxEvent(
        tenant_id=run.tenant_id,
        install_id=run.install_id,
        schedule_id=run.schedule_id,
        run_id=run.id,
        type="run.succeeded" if update.status == "success" else "run.failed",
        data=msgspec.json.encode(data).decode(),
    )


async def _disable(
    connection: Connection, updates: Sequence[RunUpdate], now: datetime
) -> list[OutboxEvent]:
    """Disable the schedules that still lack their endpoint; return the events that report it."""
    by_schedule = {(update.run.tenant_id, update.run.schedule_id): update for update in updates}
    disabled = await disable(
        connection,
        {key: update.error for key, update in by_schedule.items()},
        now,
        only_without_endpoint=True,
        raise_revision=False,
    )
    entries, events = [], []
    for ref in disabled:
        update = by_schedule[ref.tenant_id, ref.schedule_id]
        entries.append(
            NewAuditEntry(
                tenant_id=ref.tenant_id,
                install_id=ref.install_id,
                schedule_id=ref.schedule_id,
                op="disable",
                trigger="service",
                actor="worker",
                request_id=str(update.run.id),
                changes='{"enabled": [true, false]}',
            )
        )
        events.append(
            OutboxEvent(
                tenant_id=ref.tenant_id,
                install_id=ref.install_id,
                schedule_id=ref.schedule_id,
                type="schedule.disabled",
                data=msgspec.json.encode({"error": update.error}).decode(),
            )
        )
    await audit.insert(connection, entries, now)
    return events
