"""Schedules: which are there, and which need attention?"""

import time
from typing import Literal

from aiohttp import web
from msgspec import structs

from console import tables
from console.people import WRITE
from console.visit import ConsoleRoute, Visit, see_other
from contracts.admin_schedules import (
    GetScheduleInput,
    GetScheduleOutput,
    ListSchedulesInput,
    ListSchedulesOutput,
    RunNowInput,
    RunNowOutput,
    UpdateScheduleInput,
)
from contracts.errors import Code, ServiceError
from contracts.schedules import UpdateOutput

LIMIT = 50
MARKS = 20
SEARCH_BUDGET_S = 0.1
"""No further search begins after this; the next page continues after the last one."""
SORTS: tuple[Literal["next", "last"], ...] = ("next", "last")
MAX_CHOSEN = 200
COLUMNS = tables.attributes(
    "id",
    "tenant_id",
    "install_id",
    "name",
    "extension",
    "endpoint_method",
    "endpoint_path",
    "cron",
    "timezone",
    "words",
    "enabled",
    "held_by",
    "next_run_at",
    "last_run_at",
    "last_run_status",
    "last_error",
    "created_at",
    "updated_at",
)


async def show(visit: Visit) -> web.Response:
    """Show a page of schedules, or its rows as a file."""
    found = _search(visit, read_filter(visit))
    listed, errors = await visit.search(found, ListSchedulesOutput(schedules=[]))
    file = visit.table("schedules", COLUMNS, listed.schedules, listed.next_cursor)
    return file or visit.page(
        "schedules.html",
        status=400 if errors else 200,
        errors=errors,
        schedules=listed.schedules,
        next_cursor=listed.next_cursor,
        marks=MARKS,
        filtered=bool(set(visit.request.query) - {"cursor", "as"}),
    )


async def _search(visit: Visit, fields: ListSchedulesInput) -> ListSchedulesOutput:
    """Return the first page with schedules; a search looks at a bounded number at a time."""
    deadline = time.monotonic() + SEARCH_BUDGET_S
    listed = await visit.read("listSchedules", fields, ListSchedulesOutput)
    while not listed.schedules and listed.next_cursor is not None:
        if time.monotonic() > deadline:
            break
        fields = structs.replace(fields, cursor=listed.next_cursor)
        listed = await visit.read("listSchedules", fields, ListSchedulesOutput)
    return listed


def read_filter(visit: Visit) -> ListSchedulesInput:
    """Return what the address asks for."""
    return ListSchedulesInput(
        tenant_id=visit.query("tenant"),
        install_id=visit.query("install"),
        enabled=visit.choice("enabled"),
        failing=visit.choice("failing"),
        text=visit.query("text"),
        cron=visit.query("cron"),
        held=visit.choice("held"),
        sort=next((sort for sort in SORTS if sort == visit.query("sort")), None),
        recent_runs=MARKS,
        limit=LIMIT,
        cursor=visit.query("cursor"),
    )


async def change_chosen(visit: Visit) -> web.Response:
    """Enable, disable or run the chosen schedules, one by one; stop at the first refusal."""
    action = visit.form.get("action", "")
    if not 0 < len(visit.chosen) <= MAX_CHOSEN or action not in {"enable", "disable", "run"}:
        raise ServiceError(Code.VALIDATION_FAILED, "Choose schedules, and what to do with them")
    for schedule_id in visit.chosen:
        if action == "run":
            await visit.change("runNow", RunNowInput(schedule_id=schedule_id), RunNowOutput)
            continue
        found = await visit.read("getSchedule", GetScheduleInput(schedule_id), GetScheduleOutput)
        change = UpdateScheduleInput(
            install_id=found.schedule.install_id,
            schedule_id=schedule_id,
            enabled=action == "enable",
        )
        await visit.change("updateSchedule", change, UpdateOutput)
    return see_other(visit.link())


ROUTES = (
    ConsoleRoute("GET", "/schedules", show),
    ConsoleRoute("POST", "/schedules", change_chosen, needs=WRITE),
)
