"""The slot before which a run's retries must start: the schedule's current next slot."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import structs

from service.rules.planning import is_slot
from service.storage.engine.connection import Connection
from service.storage.runs.attempts import RunKey, RunRecord

# One statement per table, whatever their placement.
TIMERS = """
SELECT t.tenant_id, t.schedule_id, t.due_at, t.missed, t.cron, t.timezone
FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, schedule_id)
JOIN ext_scheduler.timers t ON t.tenant_id = w.tenant_id AND t.schedule_id = w.schedule_id
"""

FOLLOWERS = """
SELECT w.tenant_id, w.id, min(r.slot) AS slot
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[])
  AS w (tenant_id, id, schedule_id, slot)
JOIN ext_scheduler.runs r ON r.tenant_id = w.tenant_id AND r.schedule_id = w.schedule_id
  AND r.slot > w.slot AND r.kind = 'scheduled'
GROUP BY w.tenant_id, w.id
"""


async def current(connection: Connection, runs: Sequence[RunRecord]) -> dict[RunKey, RunRecord]:
    """Return these runs with their current ``next_slot``.

    Cron or zone may have changed since a run was planned. A slot after the run's that has been
    planned already is the next one; else it is the timer's. The slot noted when the run was planned
    stays where there is no timer, or where slots passed without a run: missed, or during a pause.
    """
    if not runs:
        return {}
    tenants, schedules = [run.tenant_id for run in runs], [run.schedule_id for run in runs]
    # In this order: a slot that is planned in between is seen in one of the two.
    timers = {
        (row["tenant_id"], row["schedule_id"]): row
        for row in await connection.fetch(TIMERS, tenants, schedules)
        if not row["missed"]
    }
    planned = await _planned(connection, runs)
    return {
        run.key: structs.replace(
            run,
            next_slot=planned.get(run.key)
            or _by_timer(run, timers.get((run.tenant_id, run.schedule_id))),
        )
        for run in runs
    }


def _by_timer(run: RunRecord, timer: asyncpg.Record | None) -> datetime | None:
    noted = run.next_slot
    if timer is None:
        return noted
    due_at: datetime = timer["due_at"]
    if noted is not None and noted < due_at and is_slot(timer["cron"], timer["timezone"], noted):
        return noted  # the timer has moved past it without a run
    return due_at


async def _planned(connection: Connection, runs: Sequence[RunRecord]) -> dict[RunKey, datetime]:
    columns: tuple[list[str], list[UUID], list[UUID], list[datetime]] = (
        [run.tenant_id for run in runs],
        [run.id for run in runs],
        [run.schedule_id for run in runs],
        [run.slot for run in runs],
    )
    rows = await connection.fetch(FOLLOWERS, *columns)
    return {(row["tenant_id"], row["id"]): row["slot"] for row in rows}
