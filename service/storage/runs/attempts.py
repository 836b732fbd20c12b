"""Attempts: claiming run records, and writing how an attempt ended. Each write has its fence.

Locks are taken in one order everywhere: schedule row, active run, run record, timer.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, structs

from service.storage.engine.connection import Connection

SEE = """
SELECT r.tenant_id, r.id, r.slot, r.install_id, r.schedule_id, r.kind, r.trigger, r.status,
  r.attempts, r.fence, r.lease_until, r.retry_at, r.next_slot, r.started_at,
  r.http_status, r.error
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[]) AS w (tenant_id, id, slot)
JOIN ext_scheduler.runs r ON r.tenant_id = w.tenant_id AND r.id = w.id AND r.slot = w.slot
"""

# The schedule is free when nobody holds it, when its holder's time is up, or when the holder is
# this very run before this attempt.
HOLD = """
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

# The conditions on status and fence stand in a CASE: PostgreSQL would take them for very selective,
# on a partition without statistics, and start from there instead of from the keys.
CLAIM = """
UPDATE ext_scheduler.runs r
SET status = 'running', attempts = r.attempts + w.begins, fence = r.fence + 1, retry_at = NULL,
  lease_until = $6::timestamptz, worker = $8::text,
  started_at = CASE WHEN w.begins = 1 THEN $7::timestamptz ELSE r.started_at END
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::integer[])
  AS w (tenant_id, id, slot, fence, begins)
WHERE r.tenant_id = w.tenant_id AND r.id = w.id AND r.slot = w.slot
  AND CASE WHEN r.status IN ('queued', 'running') THEN r.fence = w.fence - 1 END
RETURNING r.tenant_id, r.id
"""

# A run that was claimed only to end holds with the fence of an earlier attempt, if at all.
RELEASE = """
DELETE FROM ext_scheduler.active_runs a
USING unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[])
  AS e (tenant_id, schedule_id, run_id, fence)
WHERE a.tenant_id = e.tenant_id AND a.schedule_id = e.schedule_id AND a.run_id = e.run_id
  AND a.fence <= e.fence
"""

KEEP = """
UPDATE ext_scheduler.active_runs a SET held_until = e.held_until
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::timestamptz[])
  AS e (tenant_id, schedule_id, run_id, fence, held_until)
WHERE a.tenant_id = e.tenant_id AND a.schedule_id = e.schedule_id AND a.run_id = e.run_id
  AND a.fence = e.fence
"""

END = """
UPDATE ext_scheduler.runs r
SET status = e.status, lease_until = NULL, retry_at = e.retry_at, finished_at = e.finished_at,
  duration_ms = e.duration_ms, http_status = e.http_status, error = e.error
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::text[], $6::timestamptz[],
  $7::timestamptz[], $8::integer[], $9::integer[], $10::text[])
  AS e (tenant_id, id, slot, fence, status, retry_at, finished_at, duration_ms, http_status, error)
WHERE r.tenant_id = e.tenant_id AND r.id = e.id AND r.slot = e.slot
  AND CASE WHEN r.status = 'running' THEN r.fence = e.fence END
RETURNING r.tenant_id, r.id
"""

Key = tuple[str, UUID]
"""Tenant and run id."""


class Wanted(Struct, frozen=True):
    """A run that a job asks for."""

    tenant_id: str
    id: UUID
    slot: datetime


class Run(Struct, frozen=True):
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

    @property
    def key(self) -> Key:
        """Tenant and run id."""
        return self.tenant_id, self.id


class Wish(Struct, frozen=True):
    """A run to claim as it was seen, and whether an attempt begins or the run is only to end."""

    run: Run
    begins: bool = True


class Claimed(Struct, frozen=True):
    """A run that is this worker's now; ``holding`` unless another run holds the schedule."""

    run: Run
    holding: bool


class Ended(Struct, frozen=True, kw_only=True):
    """How an attempt ended. ``run`` is as claimed: its fence and start are the attempt's.

    ``status`` ``queued`` means another attempt at ``retry_at``; then ``held_until`` is for how
    long the schedule stays held at most. ``disable`` is the endpoint for which the schedule is to
    be disabled, if that is still what it points at.
    """

    run: Run
    status: str
    finished_at: datetime | None = None
    retry_at: datetime | None = None
    held_until: datetime | None = None
    duration_ms: int | None = None
    http_status: int | None = None
    error: str | None = None
    recorded: bool = False
    """Whether the schedule's last-run fields tell of it, and an event is sent."""
    disable: bool = False


async def see(connection: Connection, wanted: Sequence[Wanted]) -> dict[Key, Run]:
    """Return the run records that there are."""
    rows = await connection.fetch(
        SEE,
        [w.tenant_id for w in wanted],
        [w.id for w in wanted],
        [w.slot for w in wanted],
    )
    runs = [Run(*row) for row in rows]
    return {run.key: run for run in runs}


async def claim(
    connection: Connection,
    wishes: Sequence[Wish],
    *,
    worker: str,
    now: datetime,
    lease_until: datetime,
) -> dict[Key, Claimed]:
    """Claim runs: attempt up by one, a lease, a new fence.

    Runs that changed since they were seen are not claimed. Only one run of a schedule can hold
    it; the others are claimed without, and so are those that are only to end. At most one run per
    schedule may be given. Call it in a transaction.
    """
    if not wishes:
        return {}
    wishes = sorted(wishes, key=lambda wish: (wish.run.tenant_id, wish.run.schedule_id))
    runs = [_as_claimed(wish, now, lease_until) for wish in wishes]
    tenants, ids, slots = [r.tenant_id for r in runs], [r.id for r in runs], [r.slot for r in runs]
    fences = [r.fence for r in runs]
    holding = await _hold(connection, wishes, lease_until, now)
    rows = await connection.fetch(
        CLAIM,
        tenants,
        ids,
        slots,
        fences,
        [int(wish.begins) for wish in wishes],
        lease_until,
        now,
        worker,
    )
    claimed = {(row[0], row[1]) for row in rows}
    if lost := [run for run in runs if run.key in holding - claimed]:
        await connection.execute(RELEASE, *_holders(lost))
    return {run.key: Claimed(run, run.key in holding) for run in runs if run.key in claimed}


async def _hold(
    connection: Connection, wishes: Sequence[Wish], lease_until: datetime, now: datetime
) -> set[Key]:
    # What is only to end makes no call: it must not be in the way of the schedule's next run.
    runs = [wish.run for wish in wishes if wish.begins]
    if not runs:
        return set()
    rows = await connection.fetch(
        HOLD,
        [run.tenant_id for run in runs],
        [run.schedule_id for run in runs],
        [run.id for run in runs],
        [run.slot for run in runs],
        [run.fence + 1 for run in runs],
        lease_until,
        now,
    )
    return {(row[0], row[1]) for row in rows}


def _as_claimed(wish: Wish, now: datetime, lease_until: datetime) -> Run:
    run = wish.run
    return structs.replace(
        run,
        status="running",
        attempts=run.attempts + wish.begins,
        fence=run.fence + 1,
        lease_until=lease_until,
        retry_at=None,
        started_at=now if wish.begins else run.started_at,
    )


async def end(connection: Connection, endings: Sequence[Ended]) -> frozenset[Key]:
    """Write endings whose fence still holds, and free their schedules; return which those were.

    Call it in a transaction, the schedule rows that will be written locked before.
    """
    final = [ended for ended in endings if ended.status != "queued"]
    again = [ended for ended in endings if ended.status == "queued"]
    if final:
        await connection.execute(RELEASE, *_holders([each.run for each in final]))
    if again:
        await connection.execute(
            KEEP, *_holders([each.run for each in again]), [each.held_until for each in again]
        )
    rows = await connection.fetch(
        END,
        [e.run.tenant_id for e in endings],
        [e.run.id for e in endings],
        [e.run.slot for e in endings],
        [e.run.fence for e in endings],
        [e.status for e in endings],
        [e.retry_at for e in endings],
        [e.finished_at for e in endings],
        [e.duration_ms for e in endings],
        [e.http_status for e in endings],
        [e.error for e in endings],
    )
    return frozenset((row[0], row[1]) for row in rows)


def _holders(runs: Sequence[Run]) -> tuple[list[object], ...]:
    return (
        [run.tenant_id for run in runs],
        [run.schedule_id for run in runs],
        [run.id for run in runs],
        [run.fence for run in runs],
    )
