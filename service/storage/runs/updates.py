"""How an attempt ended, written into its run record under the fence of the attempt."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.runs.attempts import (
    KeptAttempt,
    RunRecord,
    fence_columns,
    keep,
    release_schedules,
)
from service.storage.runs.queue import OwnedJob

EXTEND_ACTIVE_RUNS = """
UPDATE ext_scheduler.active_runs a SET held_until = e.held_until
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::timestamptz[])
  AS e (tenant_id, schedule_id, run_id, fence, held_until)
WHERE a.tenant_id = e.tenant_id AND a.schedule_id = e.schedule_id AND a.run_id = e.run_id
  AND a.fence = e.fence
"""

# A claim locks active runs by tenant and schedule; deleting some and extending others takes two
# statements, each of which would lock its own in that order, but not all of them.
LOCK_ACTIVE_RUNS = """
SELECT FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS w (tenant_id, schedule_id, n)
JOIN ext_scheduler.active_runs a ON a.tenant_id = w.tenant_id AND a.schedule_id = w.schedule_id
ORDER BY w.n
FOR UPDATE OF a
"""

WRITE_UPDATES = """
UPDATE ext_scheduler.runs r
SET status = e.status, lease_until = NULL, retry_at = e.retry_at, finished_at = e.finished_at,
  duration_ms = CASE WHEN e.uncounted = 1 THEN r.duration_ms ELSE e.duration_ms END,
  http_status = e.http_status, error = e.error, attempts = r.attempts - e.uncounted,
  started_at = CASE WHEN e.uncounted < r.attempts THEN r.started_at END
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::text[], $6::timestamptz[],
  $7::timestamptz[], $8::integer[], $9::integer[], $10::text[], $11::integer[])
  AS e (tenant_id, id, slot, fence, status, retry_at, finished_at, duration_ms, http_status, error,
    uncounted)
WHERE r.tenant_id = e.tenant_id AND r.id = e.id AND r.slot = e.slot
  AND CASE WHEN r.status = 'running' THEN r.fence = e.fence END
RETURNING r.tenant_id, r.id
"""


class RunUpdate(Struct, frozen=True, kw_only=True):
    """What the end of an attempt writes into its run record.

    ``run`` is as claimed: its fence and start are the attempt's. ``now`` is the database's time.
    ``status`` ``queued`` means another attempt at ``retry_at``; the run then keeps its schedule's
    slot until ``owned_until`` at most. ``disable``: the endpoint is missing, so the schedule is
    disabled, unless it has one again.
    """

    run: RunRecord
    status: str
    now: datetime
    retry_at: datetime | None = None
    owned_until: datetime | None = None
    duration_ms: int | None = None
    http_status: int | None = None
    error: str | None = None
    recorded: bool = False
    """Whether the schedule's last-run fields are written, and an event is sent."""
    disable: bool = False
    handed_back: bool = False
    """Whether the attempt made no call: it does not count, and the run may be claimed at once."""
    job: OwnedJob | None = None
    """The job that ends with the run, in the same transaction; None where it is ended after it."""

    @property
    def schedule(self) -> tuple[str, UUID]:
        """Return tenant and schedule id."""
        return self.run.tenant_id, self.run.schedule_id

    @property
    def finished_at(self) -> datetime | None:
        """Return when the run ended; None where another attempt follows."""
        return None if self.status == "queued" else self.now

    @property
    def retry_delay(self) -> timedelta | None:
        """Return the wait before the next attempt; None where the run has ended."""
        if self.status != "queued":
            return None
        return timedelta(0) if self.retry_at is None else self.retry_at - self.now


async def lock_active_runs(connection: Connection, updates: Sequence[RunUpdate]) -> None:
    """Lock what ``write_updates`` will delete and extend, where it does both, in the claims' order.

    Without it the results are the same, but for a deadlock now and then, which is retried.
    """
    if len({update.retry_at is None for update in updates}) > 1:
        schedules = sorted(update.schedule for update in updates)
        await connection.execute(
            LOCK_ACTIVE_RUNS, [key[0] for key in schedules], [key[1] for key in schedules]
        )


async def write_updates(connection: Connection, updates: Sequence[RunUpdate]) -> list[RunUpdate]:
    """Write the updates whose fence still holds, and free their schedules; return these updates.

    Call it in a transaction, with what will be written locked before. Rows are written in the order
    of claims: by tenant and schedule.
    """
    updates = sorted(updates, key=lambda update: (*update.schedule, update.run.slot))
    ended = [update.run for update in updates if update.retry_at is None]
    retried = [update for update in updates if update.retry_at is not None]
    await release_schedules(connection, ended)
    if retried:
        await connection.execute(
            EXTEND_ACTIVE_RUNS,
            *fence_columns([update.run for update in retried]),
            [update.owned_until for update in retried],
        )
    rows = await connection.fetch(
        WRITE_UPDATES,
        [update.run.tenant_id for update in updates],
        [update.run.id for update in updates],
        [update.run.slot for update in updates],
        [update.run.fence for update in updates],
        [update.status for update in updates],
        [update.retry_at for update in updates],
        [update.finished_at for update in updates],
        [update.duration_ms for update in updates],
        [update.http_status for update in updates],
        [update.error for update in updates],
        [int(update.handed_back) for update in updates],
    )
    written = updates
    if len(rows) < len(updates):
        keys = {(row[0], row[1]) for row in rows}
        written = [update for update in updates if update.run.key in keys]
    await keep(
        connection,
        [
            KeptAttempt(run=update.run, finished_at=update.now)
            for update in written
            if update.retry_at is not None and not update.handed_back
        ],
    )
    return written
