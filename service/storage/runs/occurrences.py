"""Occurrences: a run record and a queued job for it, written together, once per slot."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid5

from msgspec import Struct, structs

from service.storage.engine.connection import Connection
from service.storage.runs import queue

NAMESPACE = UUID("6f3b9d52-8c1e-5b7a-9e44-2d0c7f6a1b35")
"""Fixed for ever: every attempt anywhere derives the same idempotency key from it."""

LOWEST_PRIORITY = -1_000_000

INSERT_RUNS = """
INSERT INTO ext_scheduler.runs
  (tenant_id, id, install_id, schedule_id, slot, kind, trigger, missed, next_slot, queued_at)
SELECT o.*, $10::timestamptz
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::text[],
  $7::text[], $8::integer[], $9::timestamptz[]) AS o
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


@lru_cache(maxsize=1024)
def slot_text(slot: datetime) -> str:
    """Return the slot as ``YYYY-MM-DDTHH:MM:SSZ``."""
    return slot.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def occurrence_id(schedule_id: UUID, slot: datetime, kind: str) -> UUID:
    """Return the id of an occurrence."""
    return uuid5(NAMESPACE, f"{schedule_id}:{slot_text(slot)}:{kind}")


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
    connection: Connection, occurrences: Sequence[Occurrence], now: datetime
) -> set[tuple[str, UUID]]:
    """Write run records and enqueue their jobs, in the connection's transaction.

    Returns (tenant, schedule) of those that are new: the others have been planned before. At most
    one occurrence per schedule may be given.
    """
    if not occurrences:
        return set()
    ids = [occurrence.id for occurrence in occurrences]
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
        now,
    )
    new = {(row[0], row[1]) for row in rows}
    jobs = [
        job(occurrence, run_id)
        for occurrence, run_id in zip(occurrences, ids, strict=True)
        if (occurrence.tenant_id, occurrence.schedule_id) in new
    ]
    await queue.enqueue(connection, jobs)
    return new


def job(occurrence: Occurrence, run_id: UUID) -> queue.NewJob:
    """Return the job that carries an occurrence out."""
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
    new = await plan(connection, [occurrence], now)
    return occurrence.id, bool(new)
