"""Load: which minute is crowded, by whom, and what would a new schedule meet?"""

import asyncio
from datetime import UTC, datetime

from aiohttp import web

from console import tables
from console.heat_map import crowded, days, heat_map
from console.visit import ConsoleRoute, Visit
from contracts.admin_load import LoadInput, LoadMinuteInput, LoadMinuteOutput, LoadOutput
from contracts.errors import Code, ServiceError
from contracts.times import wire_time

CROWDED = 10
TENANTS = 50
TENANT_COLUMNS = tables.attributes("tenant_id", "schedules")
MINUTE_COLUMNS: tables.TableColumns = {"minute": lambda row: row.at, "slots": lambda row: row.count}


async def show(visit: Visit) -> web.Response:
    """Show the map of the week, the minute that was chosen, or their rows as a file."""
    (load, errors), (minute, refusal) = await asyncio.gather(_load(visit), _minute(visit))
    if minute is not None:
        file = visit.table("tenants-of-a-minute", TENANT_COLUMNS, minute.most, None)
    else:
        file = visit.table("minutes", MINUTE_COLUMNS, crowded(load, len(load.minutes)), None)
    if file is not None:
        return file
    shown_days = days(load, visit.zone)
    day = visit.query("day") if visit.query("day") in shown_days else None
    return visit.page(
        "load.html",
        load=load,
        errors=errors,
        chart=heat_map(load, visit.zone, day),
        days=shown_days,
        day=day,
        crowded=crowded(load, CROWDED),
        minute=minute,
        refusal=refusal,
    )


async def _load(visit: Visit) -> tuple[LoadOutput, dict[str, str]]:
    """Return the load, and what is wrong with the expression that was to be tried."""
    cron, timezone = visit.query("cron"), visit.query("timezone")
    tenant_id = visit.query("tenant")
    if cron is not None:
        fields = LoadInput(tenant_id=tenant_id, cron=cron, timezone=timezone)
        try:
            return await visit.read("load", fields, LoadOutput), {}
        except ServiceError as error:
            if error.code is not Code.VALIDATION_FAILED or error.field_errors is None:
                raise
            errors = dict(error.field_errors)
        return await visit.read("load", LoadInput(tenant_id=tenant_id), LoadOutput), errors
    return await visit.read("load", LoadInput(tenant_id=tenant_id), LoadOutput), {}


async def _minute(visit: Visit) -> tuple[LoadMinuteOutput | None, str]:
    """Return whose slots are in the minute that was chosen, and what is wrong with that choice."""
    text = visit.query("at")
    if text is None:
        return None, ""
    try:
        fields = LoadMinuteInput(
            minute=_instant(visit, text), tenant_id=visit.query("tenant"), limit=TENANTS
        )
        return await visit.read("loadMinute", fields, LoadMinuteOutput), ""
    except ServiceError as error:
        if error.code is not Code.VALIDATION_FAILED:
            raise
        return None, f"Not a minute of the coming week: {text}"


def _instant(visit: Visit, text: str) -> str:
    """Return what a ``datetime-local`` field sends, on the viewer's clock, as an instant."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    local = at if at.tzinfo is not None else at.replace(tzinfo=visit.zone)
    return wire_time(local.astimezone(UTC))


ROUTES = (ConsoleRoute("GET", "/load", show),)
