"""Admin operations that show one run in full, and the figures of the hour."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from contracts import admin_insight as contract
from contracts.admin_insight import AttemptStatus
from contracts.errors import Code
from contracts.times import wire_time
from service.operations.admin.slices import in_slices
from service.operations.admin.transaction import resolve_tenant, scope_of
from service.operations.admin.views import run_info
from service.operations.context import Answer, Call, refusal
from service.rules.call_ids import request_id, trace_id
from service.rules.planning import UnplannableError
from service.rules.planning import read as read_stored
from service.rules.slots import slots_between
from service.storage.engine import clock
from service.storage.runs import figures, run_detail, workers
from service.storage.runs.figures import DuePair, SlotRuns
from service.storage.runs.run_detail import Attempt, RunDetail

RUN_NOT_FOUND = "Run not found"
HOUR = timedelta(hours=1)
STEP_MS = 10
_ATTEMPT_STATUS: Mapping[str, AttemptStatus] = {
    "running": "running",
    "success": "success",
    "skipped": "skipped",
    "skipped_overlap": "skipped",
}
"""Any other status of the run means that the attempt failed."""


async def get_run(call: Call, request: contract.GetRunInput) -> Answer:
    """Answer one run with its attempts."""
    tenant_id = resolve_tenant(call, request.tenant_id)
    detail = await run_detail.load(call.connection, tenant_id, UUID(request.run_id))
    if detail is None:
        return refusal(Code.NOT_FOUND, RUN_NOT_FOUND)
    return contract.GetRunOutput(
        run=run_info(detail.run),
        attempts=_attempts(detail),
        retry_at=_time(detail.retry_at),
        lease_until=_time(detail.lease_until),
        request_id=request_id(detail.run.id, detail.fence) if detail.run.attempts else None,
        trace_id=f"{trace_id(detail.run.id):032x}",
    )


async def stats(call: Call, request: contract.StatsInput) -> Answer:
    """Answer the figures of the last hour and the coming one."""
    tenant_id = resolve_tenant(call, request.tenant_id)
    now = call.policy.clock(await clock.read(call.connection))
    until = now + HOUR
    read = await figures.read(call.connection, tenant_id, now - HOUR, now, until)
    rows = await workers.recent(call.connection)
    return contract.StatsOutput(
        at=wire_time(now),
        due=await _due(read.due, now, until),
        runs=_by_minute(read.runs),
        lateness=_lateness(read.lateness, call.policy.spread),
        enabled_schedules=read.timers,
        failing_schedules=read.failing,
        paused_tenants=len(read.paused_tenants),
        disabled_installs=len(read.disabled_installs),
        missed=read.unaccounted + sum(row.missed for row in read.runs),
        queued=read.queued,
        workers_up=sum(row.is_up(now) for row in rows),
        workers=[] if scope_of(call) is not None else [_worker_info(row, now) for row in rows],
    )


async def _due(pairs: list[DuePair], now: datetime, until: datetime) -> list[contract.DueMinute]:
    counts: Counter[datetime] = Counter()
    async for pair in in_slices(pairs):
        try:
            cron, zone = read_stored(pair.cron, pair.timezone)
        except UnplannableError:
            continue  # such a schedule fires nothing
        for slot in slots_between(cron, zone, now, until):
            counts[slot] += pair.count
    return [
        contract.DueMinute(minute=wire_time(slot), count=counts[slot]) for slot in sorted(counts)
    ]


def _by_minute(rows: list[SlotRuns]) -> list[contract.RunMinute]:
    counts: dict[datetime, dict[str, int]] = {}
    for row in rows:
        counts.setdefault(row.slot, {})[row.status] = row.count
    return [
        contract.RunMinute(minute=wire_time(slot), **by_status)
        for slot, by_status in counts.items()
    ]


def _lateness(steps: list[tuple[int, int]], spread: timedelta) -> contract.Lateness | None:
    total = sum(count for _, count in steps)
    if not total:
        return None

    def percentile(share: float) -> int:
        seen = 0
        for step, count in steps:
            seen += count
            if seen >= share * total:
                return step * STEP_MS
        return steps[-1][0] * STEP_MS

    return contract.Lateness(
        runs=total,
        p50_ms=percentile(0.5),
        p99_ms=percentile(0.99),
        max_ms=percentile(1.0),
        spread_ms=spread // timedelta(milliseconds=1),
    )


def _worker_info(row: workers.WorkerRow, now: datetime) -> contract.WorkerInfo:
    return contract.WorkerInfo(
        name=row.name,
        up=row.is_up(now),
        started_at=wire_time(row.started_at),
        seen_at=wire_time(row.seen_at),
        in_flight=row.in_flight,
        capacity=row.capacity,
    )


def _attempts(detail: RunDetail) -> list[contract.AttemptInfo]:
    """Return the attempts that are kept, and the latest one from the run record itself."""
    shown = [_attempt_info(attempt, "error") for attempt in detail.earlier]
    run = detail.run
    if run.attempts and run.attempts not in {attempt.attempt for attempt in detail.earlier}:
        latest = Attempt(
            run.attempts,
            run.worker,
            run.started_at,
            run.finished_at,
            run.duration_ms,
            run.http_status,
            run.error,
        )
        shown.append(_attempt_info(latest, run.status))
    return shown


def _attempt_info(attempt: Attempt, status: str) -> contract.AttemptInfo:
    running = status == "running"
    return contract.AttemptInfo(
        attempt=attempt.attempt,
        worker=attempt.worker,
        status=_ATTEMPT_STATUS.get(status, "error"),
        started_at=_time(attempt.started_at),
        finished_at=_time(attempt.finished_at),
        # What the record holds of an attempt before is not this one's.
        duration_ms=None if running else attempt.duration_ms,
        http_status=None if running else attempt.http_status,
        error=None if running else attempt.error,
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else wire_time(at)
