"""What the end of a run writes to its schedule, audit and outbox, in the run's transaction."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from service.rules.outcomes import FailureRules
from service.storage.engine.connection import Connection
from service.storage.records import outbox
from service.storage.records.outbox import OutboxEvent
from service.storage.runs import failure_series
from service.storage.runs.occurrences import slot_text
from service.storage.runs.updates import RunUpdate

FIND_SCHEDULES = """
SELECT s.tenant_id, s.id FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, id)
JOIN tenant_extension_schedule s ON s.id = w.id AND s.tenant_id = w.tenant_id
"""
LOCK_SCHEDULES = FIND_SCHEDULES + "ORDER BY s.id FOR NO KEY UPDATE OF s SKIP LOCKED"


async def lock_schedules(
    connection: Connection, updates: Sequence[RunUpdate]
) -> set[tuple[str, UUID]]:
    """Lock the rows that ``record`` may write, in one order, before anything else is locked.

    Returns the schedules whose rows another transaction has locked: their results must wait, and
    the others' need not.
    """
    keys = {update.schedule for update in updates if update.recorded}
    if keys:
        keys -= await _schedules(connection, LOCK_SCHEDULES, keys)
    # A schedule that is not locked may also be gone.
    return await _schedules(connection, FIND_SCHEDULES, keys) if keys else keys


async def _schedules(
    connection: Connection, statement: str, keys: Collection[tuple[str, UUID]]
) -> set[tuple[str, UUID]]:
    rows = await connection.fetch(statement, [key[0] for key in keys], [key[1] for key in keys])
    return {(row[0], row[1]) for row in rows}


async def record(
    connection: Connection,
    updates: Sequence[RunUpdate],
    now: datetime,
    rules: FailureRules,
) -> None:
    """Write last-run fields, the count of failures, and events; disable schedules that must be."""
    recorded = [update for update in updates if update.recorded]
    if recorded:
        changes = await failure_series.record(connection, recorded, now, rules)
        await outbox.insert(connection, [*map(_event, recorded), *changes], now)


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
