"""Runs: which were there; and one of them: what happened?"""

from datetime import timedelta
from typing import get_args

import msgspec
from aiohttp import web

from console.pages.schedule import RUN_COLUMNS
from console.visit import ConsoleRoute, Visit
from console.waterfall import waterfall
from contracts.admin_insight import GetRunInput, GetRunOutput
from contracts.admin_schedules import (
    AdminScheduleInfo,
    GetScheduleInput,
    GetScheduleOutput,
    RunHistoryInput,
    RunHistoryOutput,
    RunStatus,
)
from contracts.errors import Code, ServiceError
from contracts.times import wire_time

LIMIT = 50
STATUS_PERIOD = timedelta(days=1)
STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)


async def show_all(visit: Visit) -> web.Response:
    """Show a page of runs, or its rows as a file."""
    history, errors = await visit.search(_history(visit), RunHistoryOutput(runs=[]))
    file = visit.table("runs", RUN_COLUMNS, history.runs, history.next_cursor)
    return file or visit.page(
        "runs.html",
        status=400 if errors else 200,
        errors=errors,
        runs=history.runs,
        next_cursor=history.next_cursor,
        statuses=STATUSES,
        since=_since(visit),
    )


async def _history(visit: Visit) -> RunHistoryOutput:
    return await visit.read("runHistory", read_filter(visit), RunHistoryOutput)


def read_filter(visit: Visit) -> RunHistoryInput:
    """Return what the address asks for. Raises ServiceError for a status that does not exist."""
    status = visit.query("status")
    if status is not None and status not in STATUSES:
        message = "No such status"
        raise ServiceError(Code.VALIDATION_FAILED, message, field_errors={"status": message})
    return RunHistoryInput(
        tenant_id=visit.query("tenant"),
        install_id=visit.query("install"),
        status=msgspec.convert(status, RunStatus | None),
        since=_since(visit),
        until=visit.query("until"),
        limit=LIMIT,
        cursor=visit.query("cursor"),
    )


def _since(visit: Visit) -> str | None:
    """Return since when runs are shown; few or none may have a status, so a day then."""
    if visit.query("since") is not None or visit.query("status") is None:
        return visit.query("since")
    return wire_time(visit.now.replace(minute=0, second=0, microsecond=0) - STATUS_PERIOD)


async def show(visit: Visit) -> web.Response:
    """Show a run with its attempts."""
    fields = GetRunInput(run_id=visit.request.match_info["id"], tenant_id=visit.query("tenant"))
    detail = await visit.read("getRun", fields, GetRunOutput)
    return visit.page(
        "run.html",
        run=detail.run,
        detail=detail,
        schedule=await _schedule(visit, detail.run.schedule_id),
        chart=waterfall(detail, visit.now),
        trace_url=visit.parts.trace_url.replace("{trace}", detail.trace_id),
    )


async def _schedule(visit: Visit, schedule_id: str) -> AdminScheduleInfo | None:
    """Return the run's schedule, None for a deleted one."""
    try:
        fields = GetScheduleInput(schedule_id)
        return (await visit.read("getSchedule", fields, GetScheduleOutput)).schedule
    except ServiceError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return None


ROUTES = (
    ConsoleRoute("GET", "/runs", show_all),
    ConsoleRoute("GET", "/runs/{id:[0-9a-fA-F-]{36}}", show),
)
