"""Tenants: who uses how much, and who is paused."""

from aiohttp import web

from console import tables
from console.people import WRITE
from console.visit import ConsoleRoute, Visit, see_other
from contracts.admin_installs import SetTenantPausedInput, SetTenantPausedOutput
from contracts.admin_reads import ListTenantsInput, ListTenantsOutput

LIMIT = 50
COLUMNS: tables.TableColumns = {
    **tables.attributes(
        "tenant_id",
        "installs",
        "enabled_installs",
        "schedules",
        "enabled_schedules",
        "runs_of_day",
        "failures_of_day",
        "rate_used",
        "rate_limit",
        "runner_pool",
    ),
    "pausedSince": lambda row: row.paused and row.paused.since,
    "pausedBy": lambda row: row.paused and row.paused.by,
    "pauseReason": lambda row: row.paused and row.paused.reason,
}


async def show(visit: Visit) -> web.Response:
    """Show a page of tenants, or its rows as a file."""
    fields = ListTenantsInput(
        tenant_id=visit.query("tenant"),
        paused=visit.choice("paused"),
        limit=LIMIT,
        cursor=visit.query("cursor"),
    )
    found = visit.read("listTenants", fields, ListTenantsOutput)
    listed, errors = await visit.search(found, ListTenantsOutput(tenants=[]))
    file = visit.table("tenants", COLUMNS, listed.tenants, listed.next_cursor)
    return file or visit.page(
        "tenants.html",
        status=400 if errors else 200,
        errors=errors,
        tenants=listed.tenants,
        next_cursor=listed.next_cursor,
    )


async def set_paused(visit: Visit) -> web.Response:
    """Pause a tenant with a reason, or resume it."""
    pausing = visit.form.get("paused") == "yes"
    fields = SetTenantPausedInput(
        tenant_id=visit.form.get("tenant", ""),
        paused=pausing,
        reason=visit.form.get("reason", "").strip() or None if pausing else None,
    )
    await visit.change("setTenantPaused", fields, SetTenantPausedOutput)
    return see_other(visit.link())


ROUTES = (
    ConsoleRoute("GET", "/tenants", show),
    ConsoleRoute("POST", "/tenants", set_paused, needs=WRITE),
)
