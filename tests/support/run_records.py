"""Run records as the service writes them, without a schedule row or a worker."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from service.storage.engine.connection import Connection
from service.storage.runs import attempts, occurrences
from service.storage.runs.attempts import ClaimRequest, RunRecord
from service.storage.runs.occurrences import Occurrence
from service.storage.runs.queue import JobPayload

SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)
INSTALL = uuid4()


def occurrence(
    schedule_id: UUID | None = None,
    slot: datetime = SLOT,
    *,
    tenant_id: str = "tenant-1",
    kind: str = "scheduled",
) -> Occurrence:
    """Return an occurrence of a schedule: a new one where none is given."""
    return Occurrence(
        tenant_id=tenant_id,
        install_id=INSTALL,
        schedule_id=schedule_id or uuid4(),
        slot=slot,
        kind=kind,
        trigger="run_now" if kind == "manual" else "schedule",
        next_slot=slot + timedelta(minutes=5),
    )


def payload(run: RunRecord | Occurrence) -> JobPayload:
    """Return the payload of a run's job."""
    return JobPayload(run.tenant_id, run.id, run.schedule_id, run.slot)


async def read(connection: Connection, run: RunRecord | Occurrence) -> RunRecord:
    """Return the run's record as it is now."""
    (found,) = (await attempts.load(connection, [payload(run)])).values()
    return found


async def planned(connection: Connection, *given: Occurrence) -> list[RunRecord]:
    """Write queued runs; without occurrences, the one of a new schedule."""
    wanted = list(given) or [occurrence()]
    for each in wanted:
        await occurrences.plan(connection, [each], each.slot)
    return [await read(connection, each) for each in wanted]


async def claimed(
    connection: Connection, *requests: ClaimRequest | RunRecord, now: datetime = SLOT
) -> tuple[list[RunRecord], set[attempts.RunKey]]:
    """Claim runs for worker-1, for as long as a lease is."""
    return await attempts.claim(
        connection,
        [each if isinstance(each, ClaimRequest) else ClaimRequest(each) for each in requests],
        worker="worker-1",
        now=now,
        lease_until=now + LEASE,
    )


async def begun(connection: Connection, *given: Occurrence) -> list[RunRecord]:
    """Plan runs and claim each; without occurrences, the one of a new schedule."""
    runs = await planned(connection, *given)
    return [(await claimed(connection, run))[0][0] for run in runs]


async def holders(connection: Connection) -> dict[UUID, UUID]:
    """Return, by schedule, the run that holds it."""
    rows = await connection.fetch("SELECT schedule_id, run_id FROM ext_scheduler.active_runs")
    return {row["schedule_id"]: row["run_id"] for row in rows}
