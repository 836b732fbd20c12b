"""Occurrences: a run record and a queued job for it, written together, once per slot."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha1
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as DriverUUID  # noqa: N811 - beside the standard one
from msgspec import Struct, structs

from service.storage.engine.connection import Connection
from service.storage.runs import direct_claims, queue
from service.storage.runs.attempts import RunRecord, release_schedules
from service.storage.runs.direct_claims import ClaimedJob, DirectClaim

NAMESPACE = UUID("6f3b9d52-8c1e-5b7a-9e44-2d0c7f6a1b35")
"""Fixed for ever: every attempt anywhere derives the same idempotency key from it."""

LOWEST_PRIORITY = -1_000_000

INSERT_RUNS = """
INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind, trigger, missed,
  next_slot, attempts, fence, status, queued_at, started_at, lease_until, worker)
SELECT o.*, o.attempts, CASE o.attempts WHEN 0 THEN 'queued' ELSE 'running' END, $11::timestamptz,
  CASE o.attempts WHEN 1 THEN $11::timestamptz END,
  CASE o.attempts WHEN 1 THEN $12::timestamptz END, CASE o.attempts WHEN 1 THEN $13::text END
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::text[],
  $7::text[], $8::integer[], $9::timestamptz[], $10::integer[])
  AS o (tenant_id, id, install_id, schedule_id, slot, kind, trigger, missed, next_slot, attempts)
ON CONFLICT (tenant_id, schedule_id, slot, kind) DO NOTHING
RETURNING tenant_id, schedule_id
"""

NEXT_SLOT = """
SELECT due_at FROM ext_scheduler.timers
WHERE tenant_id = $1::text AND schedule_id = $2::uuid AND due_at > $3::timestamptz
"""


class Occurrence(Struct, frozen=True, kw_only=True):
    """One schedule at one slot.

    ``kind`` is scheduled or manual, ``trigger`` schedule, catchup or run_now;
    ``missed`` are the earlier slots that it stands for, ``next_slot`` the schedule's following one.
    ``priority`` and ``delay`` are for the queue.
    """

    tenant_id: str
    install_id: UUID
    schedule_id: UUID
    slot: datetime
    kind: str = "scheduled"
    trigger: str = "schedule"
    missed: int = 0
    next_slot: datetime | None = None
    priority: int = 0
    delay: timedelta = timedelta(0)

    @property
    def id(self) -> UUID:
        """Return the run's id, which is the idempotency key of each of its attempts."""
        return occurrence_id(self.schedule_id, self.slot, self.kind)


class PlannedOccurrences(Struct, frozen=True):
    """What was planned: ``new`` (tenant, schedule), and of those what was ``claimed`` at once."""

    new: set[tuple[str, UUID]] = set()
    claimed: list[ClaimedJob] = []


@lru_cache(maxsize=1024)
def slot_text(slot: datetime) -> str:
    """Return the slot as ``YYYY-MM-DDTHH:MM:SSZ``."""
    return slot.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def occurrence_id(schedule_id: UUID, slot: datetime, kind: str) -> UUID:
    """Return the id of an occurrence: a UUID of version 5, made as the driver makes those it reads.

    Those of the standard library take three times as long, to make and to write as text.
    """
    name = f"{schedule_id}:{slot_text(slot)}:{kind}"
    digest = bytearray(sha1(NAMESPACE.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return DriverUUID(bytes(digest))


def prioritised(occurrences: Sequence[Occurrence]) -> list[Occurrence]:
    """Return the occurrences, each with its rank within its tenant as priority.

    So the first of every tenant goes before the second of any.
    """
    ranks: Counter[str] = Counter()
    result = []
    for occurrence in occurrences:
        priority = max(-ranks[occurrence.tenant_id], LOWEST_PRIORITY)
        result.append(structs.replace(occurrence, priority=priority))
        ranks[occurrence.tenant_id] += 1
    return result


async def plan(
    connection: Connection,
    occurrences: Sequence[Occurrence],
    now: datetime,
    claim: DirectClaim | None = None,
) -> PlannedOccurrences:
    """Write run records and enqueue their jobs, in the connection's transaction.

    Those that were planned before are not written again. Occurrences of the claim's schedules are
    written as claimed, where nothing of the schedule is running or waits for a retry. At most one
    occurrence per schedule may be given.
    """
    if not occurrences:
        return PlannedOccurrences()
    ids = [occurrence.id for occurrence in occurrences]
    runs = _claimed_runs(occurrences, ids, claim, now) if claim else []
    held = await direct_claims.hold_schedules(connection, runs, now)
    claimed = {run.id: run for run in held}
    rows = await connection.fetch(
        INSERT_RUNS,
        [occurrence.tenant_id for occurrence in occurrences],
        ids,
        [occurrence.install_id for occurrence in occurrences],
        [occurrence.schedule_id for occurrence in occurrences],
        [occurrence.slot for occurrence in occurrences],
        [occurrence.kind for occurrence in occurrences],
        [occurrence.trigger for occurrence in occurrences],
        [occurrence.missed for occurrence in occurrences],
        [occurrence.next_slot for occurrence in occurrences],
        [int(id_ in claimed) for id_ in ids],
        now,
        claim and now + claim.lease,
        claim and claim.worker,
    )
    new = {(row[0], row[1]) for row in rows}
    if len(new) < len(ids):
        planned_before = [run for run in held if (run.tenant_id, run.schedule_id) not in new]
        await release_schedules(connection, planned_before)
    jobs = {
        id_: job(occurrence, id_, claim.owner if claim and id_ in claimed else None)
        for occurrence, id_ in zip(occurrences, ids, strict=True)
        if (occurrence.tenant_id, occurrence.schedule_id) in new
    }
    job_ids = await queue.enqueue(connection, list(jobs.values()))
    return PlannedOccurrences(
        new,
        [
            ClaimedJob(job_ids[jobs[id_].dedupe_key], run)
            for id_, run in claimed.items()
            if id_ in jobs and jobs[id_].dedupe_key in job_ids
        ],
    )


def _claimed_runs(
    occurrences: Sequence[Occurrence], ids: Sequence[UUID], claim: DirectClaim, now: datetime
) -> list[RunRecord]:
    """Return the runs of the claim's schedules as they will be written: the first attempt begun."""
    return [
        RunRecord(
            tenant_id=occurrence.tenant_id,
            id=id_,
            slot=occurrence.slot,
            install_id=occurrence.install_id,
            schedule_id=occurrence.schedule_id,
            kind=occurrence.kind,
            trigger=occurrence.trigger,
            status="running",
            attempts=1,
            fence=1,
            lease_until=now + claim.lease,
            retry_at=None,
            next_slot=occurrence.next_slot,
            started_at=now,
            http_status=None,
            error=None,
            worker=claim.worker,
        )
        for occurrence, id_ in zip(occurrences, ids, strict=True)
        if (occurrence.tenant_id, occurrence.schedule_id) in claim.schedules
    ]


def job(occurrence: Occurrence, run_id: UUID, owner: UUID | None = None) -> queue.NewJob:
    """Return the job that carries an occurrence out; with an owner, as claimed by that."""
    return queue.NewJob(
        payload=queue.JobPayload(
            occurrence.tenant_id, run_id, occurrence.schedule_id, occurrence.slot
        ),
        dedupe_key=queue.dedupe_key(
            occurrence.install_id,
            occurrence.schedule_id,
            slot_text(occurrence.slot),
            occurrence.kind,
        ),
        priority=occurrence.priority,
        delay=occurrence.delay,
        owner=owner,
    )


async def plan_manual_run(
    connection: Connection,
    tenant_id: str,
    install_id: UUID,
    schedule_id: UUID,
    now: datetime,
) -> tuple[UUID, bool]:
    """Plan a manual run for the current minute, in the connection's transaction.

    Returns its id and whether it is new: within one minute it is the same run.
    """
    slot = now.astimezone(UTC).replace(second=0, microsecond=0)
    occurrence = Occurrence(
        tenant_id=tenant_id,
        install_id=install_id,
        schedule_id=schedule_id,
        slot=slot,
        kind="manual",
        trigger="run_now",
        next_slot=await connection.fetchval(NEXT_SLOT, tenant_id, schedule_id, now),
    )
    planned = await plan(connection, [occurrence], now)
    return occurrence.id, bool(planned.new)
