"""What the end of a run writes to its schedule, audit and outbox, in the run's transaction."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from service.rules.outcomes import FailureRules
from service.storage.engine.connection import Connection
from service.storage.records import outbox
from service.storage.records.outbox import OutboxEvent
from service.storage.runs import failure_series
from service.storage.runs.occurrences import slot_text
from service.storage.runs.updates import RunUpdate

LOCK_SCHEDULES = """
SELECT FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, id)
JOIN tenant_extension_schedule s ON s.id = w.id AND s.tenant_id = w.tenant_id
ORDER BY s.id
FOR NO KEY UPDATE OF s
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
