"""Load: which minute is crowded, by whom, and what would a new schedule meet?"""

from collections.abc import Mapping
from datetime import UTC, datetime

from aiohttp import web
from msgspec import structs

from console import tables
from console.heat_map import crowded, days, heat_map
from console.visit import ConsoleRoute, Visit
from contracts.admin_load import LoadInput, LoadOutput
from contracts.errors import Code, ServiceError
from contracts.times import wire_time

CROWDED = 10
TENANTS = 50
TENANT_COLUMNS = tables.attributes("tenant_id", "schedules")
MINUTE_COLUMNS: tables.TableColumns = {"minute": lambda row: row.at, "slots": lambda row: row.count}


async def show(visit: Visit) -> web.Response:
    """Show the map of the week, the minute that was chosen, or their rows as a file."""
    load, errors = await _load(visit)
    minute, refused = load.minute, errors.pop("minute", None)
    tenant_error = errors.pop("tenantId", "")
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
        tenant_error=tenant_error,
        refusal="" if refused is None else f"Not a minute of the coming week: {visit.query('at')}",
    )


async def _load(visit: Visit) -> tuple[LoadOutput, dict[str, str]]:
    """Return the load, and what is wrong with what was asked for, by the fields of the wire.

    Week and minute are one question: each of its own would count all schedules.
    """
    cron, at = visit.query("cron"), visit.query("at")
    asked = LoadInput(
        tenant_id=visit.query("tenant"),
        cron=cron,
        timezone=None if cron is None else visit.query("timezone"),
        minute=None if at is None else _instant(visit, at),
        limit=None if at is None else TENANTS,
    )
    errors: dict[str, str] = {}
    while True:
        try:
            return await visit.read("load", asked, LoadOutput), errors
        except ServiceError as error:
            if error.code is not Code.VALIDATION_FAILED or not error.field_errors:
                raise
            wrong = error.field_errors
            left = _without(asked, wrong)
            if left == asked:
                raise
            errors, asked = {**errors, **wrong}, left


def _without(asked: LoadInput, wrong: Mapping[str, str]) -> LoadInput:
    """Return what can be answered all the same."""
    if "tenantId" in wrong:
        asked = structs.replace(asked, tenant_id=None)
    if "minute" in wrong:
        asked = structs.replace(asked, minute=None, limit=None)
    if wrong.keys() & {"cron", "timezone"}:
        asked = structs.replace(asked, cron=None, timezone=None)
    return asked


def _instant(visit: Visit, text: str) -> str:
    """Return what a ``datetime-local`` field sends, on the viewer's clock, as an instant."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    local = at if at.tzinfo is not None else at.replace(tzinfo=visit.zone)
    return wire_time(local.astimezone(UTC))


ROUTES = (ConsoleRoute("GET", "/load", show),)
