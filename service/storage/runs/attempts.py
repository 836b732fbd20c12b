"""Attempts: run records as they are claimed. Each write has its fence; ends are in ``updates``.

Locks are taken in one order everywhere: schedule row, active run, run record, timer.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct, structs

from service.storage.engine.connection import Connection
from service.storage.runs.queue import JobPayload

LOAD_RUNS = """
SELECT r.tenant_id, r.id, r.slot, r.install_id, r.schedule_id, r.kind, r.trigger, r.status,
  r.attempts, r.fence, r.lease_until, r.retry_at, r.next_slot, r.started_at,
  r.http_status, r.error, r.worker
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[]) AS w (tenant_id, id, slot)
JOIN ext_scheduler.runs r ON r.tenant_id = w.tenant_id AND r.id = w.id AND r.slot = w.slot
"""

# A schedule's slot is free when no run owns it, when its owner's time is up, or when the owner is
# this very run before this attempt.
ACQUIRE_ACTIVE_RUN = """
INSERT INTO ext_scheduler.active_runs AS a
  (tenant_id, schedule_id, run_id, slot, fence, held_until, held_since)
SELECT w.tenant_id, w.schedule_id, w.run_id, w.slot, w.fence, $6::timestamptz, $7::timestamptz
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bigint[])
  AS w (tenant_id, schedule_id, run_id, slot, fence)
ON CONFLICT (tenant_id, schedule_id) DO UPDATE SET
  run_id = excluded.run_id, slot = excluded.slot, fence = excluded.fence,
  held_until = excluded.held_until, held_since = excluded.held_since
WHERE (a.run_id = excluded.run_id AND a.fence = excluded.fence - 1)
  OR a.held_until < excluded.held_since
RETURNING tenant_id, run_id
"""

# A run whose status has changed was handed back, or waits for a retry. It is not lost, although its
# fence is still that of the attempt. The conditions are in a CASE because PostgreSQL would estimate
# them as very selective on a partition without statistics, and would not start from the keys.
CLAIM_RUNS = """
UPDATE ext_scheduler.runs r
SET status = 'running', attempts = r.attempts + w.begins, fence = r.fence + 1, retry_at = NULL,
  lease_until = $6::timestamptz, worker = $8::text,
  started_at = CASE WHEN w.begins = 1 THEN $7::timestamptz ELSE r.started_at END
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::integer[], $9::text[])
  AS w (tenant_id, id, slot, fence, begins, status)
WHERE r.tenant_id = w.tenant_id AND r.id = w.id AND r.slot = w.slot
  AND CASE WHEN r.status IN ('queued', 'running') AND r.status = w.status
    THEN r.fence = w.fence - 1 END
RETURNING r.tenant_id, r.id
"""

# A run that was claimed only to be ended may own its schedule's slot from an earlier attempt, with
# that attempt's fence.
RELEASE_ACTIVE_RUNS = """
DELETE FROM ext_scheduler.active_runs a
USING unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[])
  AS e (tenant_id, schedule_id, run_id, fence)
WHERE a.tenant_id = e.tenant_id AND a.schedule_id = e.schedule_id AND a.run_id = e.run_id
  AND a.fence <= e.fence
"""

# The run record shows the latest attempt only, so earlier attempts are copied here. An attempt
# whose worker was lost has no end.
KEEP_ATTEMPTS = """
INSERT INTO ext_scheduler.run_attempts (tenant_id, run_id, attempt, install_id, slot, worker,
  started_at, finished_at, duration_ms, http_status, error)
SELECT r.tenant_id, r.id, r.attempts, r.install_id, r.slot, r.worker, r.started_at, k.finished_at,
  CASE WHEN k.finished_at IS NOT NULL THEN r.duration_ms END,
  CASE WHEN k.finished_at IS NOT NULL THEN r.http_status END, coalesce(k.error, r.error)
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::timestamptz[], $6::text[])
  AS k (tenant_id, id, slot, fence, finished_at, error)
JOIN ext_scheduler.runs r ON r.tenant_id = k.tenant_id AND r.id = k.id AND r.slot = k.slot
  AND CASE WHEN r.attempts > 0 THEN r.fence = k.fence END
ON CONFLICT (tenant_id, run_id, attempt) DO NOTHING
"""

WORKER_LOST = "worker lost"

RunKey: TypeAlias = tuple[str, UUID]
"""Tenant and run id."""


class RunRecord(Struct, frozen=True):
    """A run record, as far as an attempt needs it."""

    tenant_id: str
    id: UUID
    slot: datetime
    install_id: UUID
    schedule_id: UUID
    kind: str
    trigger: str
    status: str
    attempts: int
    fence: int
    lease_until: datetime | None
    retry_at: datetime | None
    next_slot: datetime | None
    started_at: datetime | None
    http_status: int | None
    error: str | None
    worker: str | None

    @property
    def key(self) -> RunKey:
        """Return the tenant and run id."""
        return self.tenant_id, self.id


class ClaimRequest(Struct, frozen=True):
    """A run to claim, as it was read.

    ``lost`` is None where an attempt begins, else the error that the run can only end with.
    ``again``: its claim by this worker was committed without an answer, and is made once more.
    """

    run: RunRecord
    lost: str | None = None
    again: bool = False

    @property
    def begins(self) -> bool:
        """Return whether an attempt begins."""
        return self.lost is None

    @property
    def counts(self) -> bool:
        """Return whether the claim counts as a further attempt of the run."""
        return self.begins and not self.again


class KeptAttempt(Struct, frozen=True, kw_only=True):
    """An attempt that a further one follows; ``run`` has its fence.

    ``finished_at`` is None where its worker was lost; ``error`` None where the record states it.
    """

    run: RunRecord
    finished_at: datetime | None = None
    error: str | None = None


async def load(connection: Connection, jobs: Sequence[JobPayload]) -> dict[RunKey, RunRecord]:
    """Return the run records of these jobs, without those that are missing."""
    rows = await connection.fetch(
        LOAD_RUNS,
        [job.tenant_id for job in jobs],
        [job.run_id for job in jobs],
        [job.slot for job in jobs],
    )
    runs = [RunRecord(*row) for row in rows]
    return {run.key: run for run in runs}


async def claim(
    connection: Connection,
    requests: Sequence[ClaimRequest],
    *,
    worker: str,
    now: datetime,
    lease_until: datetime,
) -> tuple[list[RunRecord], set[RunKey]]:
    """Claim runs: each gets a further attempt, a lease and a new fence.

    Returns the runs as claimed, and the keys of those that own their schedule's slot. Runs that
    changed since they were read are not claimed. Only one run of a schedule can own its slot: a run
    is claimed without it while another one owns it, or where the run can only be ended. Call it in
    a transaction, with at most one run of each schedule.
    """
    if not requests:
        return [], set()
    requests = sorted(
        requests, key=lambda request: (request.run.tenant_id, request.run.schedule_id)
    )
    runs = [_as_claimed(request, worker, now, lease_until) for request in requests]
    owners = await _acquire_active_runs(connection, requests, lease_until, now)
    await keep(
        connection,
        [
            KeptAttempt(run=request.run, error=WORKER_LOST)
            for request in requests
            if request.run.status == "running" and not request.again
        ],
    )
    rows = await connection.fetch(
        CLAIM_RUNS,
        [run.tenant_id for run in runs],
        [run.id for run in runs],
        [run.slot for run in runs],
        [run.fence for run in runs],
        [int(request.counts) for request in requests],
        lease_until,
        now,
        worker,
        [request.run.status for request in requests],
    )
    claimed = {(row[0], row[1]) for row in rows}
    await release_schedules(connection, [run for run in runs if run.key in owners - claimed])
    return [run for run in runs if run.key in claimed], owners & claimed


async def release_schedules(connection: Connection, runs: Sequence[RunRecord]) -> None:
    """Release the schedules that these runs own by the given fence, or by an earlier one."""
    if runs:
        await connection.execute(RELEASE_ACTIVE_RUNS, *fence_columns(runs))


async def _acquire_active_runs(
    connection: Connection, requests: Sequence[ClaimRequest], lease_until: datetime, now: datetime
) -> set[RunKey]:
    # A run that can only be ended makes no call, so it must not block the schedule's next run.
    runs = [request.run for request in requests if request.begins]
    if not runs:
        return set()
    rows = await connection.fetch(
        ACQUIRE_ACTIVE_RUN,
        [run.tenant_id for run in runs],
        [run.schedule_id for run in runs],
        [run.id for run in runs],
        [run.slot for run in runs],
        [run.fence + 1 for run in runs],
        lease_until,
        now,
    )
    return {(row[0], row[1]) for row in rows}


def _as_claimed(
    request: ClaimRequest, worker: str, now: datetime, lease_until: datetime
) -> RunRecord:
    run = request.run
    return structs.replace(
        run,
        status="running",
        attempts=run.attempts + request.counts,
        fence=run.fence + 1,
        lease_until=lease_until,
        retry_at=None,
        started_at=now if request.counts else run.started_at,
        worker=worker,
    )


async def keep(connection: Connection, kept: Sequence[KeptAttempt]) -> None:
    """Keep what run records showed of these attempts before the next one begins."""
    if kept:
        await connection.execute(
            KEEP_ATTEMPTS,
            [attempt.run.tenant_id for attempt in kept],
            [attempt.run.id for attempt in kept],
            [attempt.run.slot for attempt in kept],
            [attempt.run.fence for attempt in kept],
            [attempt.finished_at for attempt in kept],
            [attempt.error for attempt in kept],
        )


def fence_columns(runs: Sequence[RunRecord]) -> tuple[list[object], ...]:
    """Return tenants, schedules, runs and fences, as parameters of a statement."""
    return (
        [run.tenant_id for run in runs],
        [run.schedule_id for run in runs],
        [run.id for run in runs],
        [run.fence for run in runs],
    )
