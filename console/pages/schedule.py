"""A schedule: what does it do, why did it not run?"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from aiohttp import web
from msgspec import Struct

from console import tables
from console.durations import DurationChart, duration_bars
from console.visit import ConsoleRoute, Visit
from contracts.admin_cron import PreviewCronInput, PreviewCronOutput
from contracts.admin_explain import ExplainInput, ExplainOutput
from contracts.admin_reads import AuditLogInput, AuditLogOutput
from contracts.admin_schedules import (
    AdminScheduleInfo,
    GetScheduleInput,
    GetScheduleOutput,
    RunHistoryInput,
    RunHistoryOutput,
    RunInfo,
)
from contracts.errors import Code, ServiceError
from contracts.inputs import MAX_PREVIEW
from contracts.times import read_time

NEXT_SLOTS = 10
LIMIT = 50
AUDIT_LIMIT = 20
RUN_COLUMNS = tables.attributes(
    "id",
    "tenant_id",
    "install_id",
    "schedule_id",
    "slot",
    "kind",
    "trigger",
    "status",
    "attempts",
    "queued_at",
    "started_at",
    "finished_at",
    "duration_ms",
    "http_status",
    "error",
    "missed",
    "worker",
)


class HistoryRow(Struct, frozen=True):
    """A slot with its run, or without one."""

    slot: str
    run: RunInfo | None


async def show(visit: Visit) -> web.Response:
    """Show a schedule: what explains it, its coming slots, its history, its audit."""
    schedule = await load(visit)
    history = await visit.read(
        "runHistory",
        RunHistoryInput(
            tenant_id=schedule.tenant_id,
            schedule_id=schedule.id,
            limit=LIMIT,
            cursor=visit.query("cursor"),
        ),
        RunHistoryOutput,
    )
    file = visit.table("runs", RUN_COLUMNS, history.runs, history.next_cursor)
    if file is not None:
        return file
    explained, refusal = await explain(visit, schedule.id)
    coming = await _preview(visit, schedule, NEXT_SLOTS)
    return visit.page(
        "schedule.html",
        schedule=schedule,
        payload=msgspec.json.format(msgspec.json.encode(schedule.payload), indent=2).decode(),
        explained=explained,
        refusal=refusal,
        at=visit.query("at") or "",
        coming=coming,
        rows=rows(history.runs, await _expected(visit, schedule, history.runs), visit.now),
        durations=durations(history.runs),
        next_cursor=history.next_cursor,
        audit=await audit_of(visit, schedule),
    )


async def load(visit: Visit) -> AdminScheduleInfo:
    """Return the schedule that the address names. Raises ServiceError."""
    fields = GetScheduleInput(visit.request.match_info["id"])
    return (await visit.read("getSchedule", fields, GetScheduleOutput)).schedule


async def explain(visit: Visit, schedule_id: str) -> tuple[ExplainOutput, str]:
    """Return why the schedule fires or not, and what is wrong with the instant asked about."""
    at = visit.query("at")
    if at is not None:
        try:
            fields = ExplainInput(schedule_id=schedule_id, at=at)
            return await visit.read("explain", fields, ExplainOutput), ""
        except ServiceError as error:
            if error.code is not Code.VALIDATION_FAILED:
                raise
    fields = ExplainInput(schedule_id=schedule_id)
    refusal = "" if at is None else f"Not an instant or a time such as 02:30: {at}"
    return await visit.read("explain", fields, ExplainOutput), refusal


def rows(runs: Sequence[RunInfo], expected: Sequence[str], now: datetime) -> list[HistoryRow]:
    """Return the runs and, between them, the slots that have none; newest first."""
    have = {run.slot for run in runs}
    gaps = [
        HistoryRow(slot, None) for slot in expected if slot not in have and read_time(slot) < now
    ]
    shown = [HistoryRow(run.slot, run) for run in runs] + gaps
    return sorted(shown, key=lambda row: read_time(row.slot), reverse=True)


def durations(runs: Sequence[RunInfo]) -> DurationChart:
    """Return the chart of the runs' durations, oldest first."""
    return duration_bars(
        [(run.id, run.slot, run.status, run.duration_ms) for run in reversed(runs)]
    )


async def _preview(
    visit: Visit, schedule: AdminScheduleInfo, count: int, since: str | None = None
) -> PreviewCronOutput | None:
    """Return coming slots; None for an expression that cannot be read, as others write them."""
    fields = PreviewCronInput(
        cron=schedule.cron, timezone=schedule.timezone, count=count, from_=since
    )
    try:
        return await visit.read("previewCron", fields, PreviewCronOutput)
    except ServiceError as error:
        if error.code is not Code.VALIDATION_FAILED:
            raise
        return None


async def _expected(
    visit: Visit, schedule: AdminScheduleInfo, runs: Sequence[RunInfo]
) -> list[str]:
    """Return the slots since the oldest run shown that the current expression would have had."""
    scheduled = [run.slot for run in runs if run.kind == "scheduled"]
    if not scheduled:
        return []
    since = max(min(scheduled), schedule.created_at)
    preview = await _preview(visit, schedule, MAX_PREVIEW, since)
    return [] if preview is None else preview.slots


async def audit_of(visit: Visit, schedule: AdminScheduleInfo) -> AuditLogOutput:
    """Return who changed the schedule lately."""
    fields = AuditLogInput(
        tenant_id=schedule.tenant_id,
        install_id=schedule.install_id,
        schedule_id=schedule.id,
        limit=AUDIT_LIMIT,
    )
    return await visit.read("auditLog", fields, AuditLogOutput)


ROUTES = (ConsoleRoute("GET", "/schedules/{id:[0-9a-fA-F-]{36}}", show),)
