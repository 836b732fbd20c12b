"""Runs that are claimed in the transaction that plans them: written as claimed, not read again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.runs.attempts import RunRecord

# A row in the way stays, whoever has it. Nothing is waited for, but a claim of the same schedule
# that began in between.
ACTIVE_RUNS = """
SELECT a.tenant_id, a.schedule_id
FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, schedule_id)
JOIN ext_scheduler.active_runs a ON a.tenant_id = w.tenant_id AND a.schedule_id = w.schedule_id
"""

HOLD_SCHEDULES = """
INSERT INTO ext_scheduler.active_runs
  (tenant_id, schedule_id, run_id, slot, fence, held_until, held_since)
SELECT w.tenant_id, w.schedule_id, w.run_id, w.slot, w.fence, $6::timestamptz, $7::timestamptz
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bigint[])
  AS w (tenant_id, schedule_id, run_id, slot, fence)
ON CONFLICT (tenant_id, schedule_id) DO NOTHING
RETURNING tenant_id, schedule_id
"""


class DirectClaim(Struct, frozen=True, kw_only=True):
    """Who claims at once, and for how long: ``owner`` of the jobs, ``worker`` of the run records.

    ``schedules`` (tenant, schedule) are those whose occurrences are claimed.
    """

    owner: UUID
    worker: str
    lease: timedelta
    schedules: frozenset[tuple[str, UUID]]


class ClaimedJob(Struct, frozen=True):
    """A job that was enqueued as its owner's, and its run as claimed."""

    id: int
    run: RunRecord


async def hold_schedules(
    connection: Connection, runs: Sequence[RunRecord], now: datetime
) -> list[RunRecord]:
    """Hold the schedules of runs that are about to be written as claimed, where none is active.

    Returns the runs that hold theirs now. Call it in the transaction that writes them.
    """
    keys = [run.tenant_id for run in runs], [run.schedule_id for run in runs]
    active = {(row[0], row[1]) for row in await connection.fetch(ACTIVE_RUNS, *keys)}
    free = sorted(
        (run for run in runs if (run.tenant_id, run.schedule_id) not in active),
        key=lambda run: (run.tenant_id, run.schedule_id),
    )
    if not free:
        return []
    rows = await connection.fetch(
        HOLD_SCHEDULES,
        [run.tenant_id for run in free],
        [run.schedule_id for run in free],
        [run.id for run in free],
        [run.slot for run in free],
        [run.fence for run in free],
        free[0].lease_until,
        now,
    )
    if len(rows) == len(free):
        return free
    held = {(row[0], row[1]) for row in rows}
    return [run for run in free if (run.tenant_id, run.schedule_id) in held]
