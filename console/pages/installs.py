"""Installs: which version runs where, and moving, disabling and removing one."""

from aiohttp import web

from console import tables
from console.people import WRITE
from console.visit import ConsoleRoute, Visit, not_found, see_other
from contracts.admin_installs import (
    SetInstallEnabledInput,
    SetInstallEnabledOutput,
    UninstallInput,
    UninstallOutput,
    UpdateInstallInput,
    UpdateInstallOutput,
)
from contracts.admin_reads import InstallInfo, ListInstallsInput, ListInstallsOutput
from contracts.errors import Code, ServiceError

LIMIT = 50
ONE = "/installs/{id:[0-9a-fA-F-]{36}}"
COLUMNS = tables.attributes(
    "id",
    "tenant_id",
    "publisher",
    "name",
    "version",
    "enabled",
    "tenant_paused",
    "schedules",
    "enabled_schedules",
    "quota",
    "runs_of_day",
    "failures_of_day",
    "rate_used",
    "rate_limit",
    "updated_at",
)


async def show_all(visit: Visit) -> web.Response:
    """Show a page of installs, or its rows as a file."""
    fields = ListInstallsInput(
        tenant_id=visit.query("tenant"),
        name=visit.query("name"),
        version=visit.query("version"),
        enabled=visit.choice("enabled"),
        limit=LIMIT,
        cursor=visit.query("cursor"),
    )
    found = visit.read("listInstalls", fields, ListInstallsOutput)
    listed, errors = await visit.search(found, ListInstallsOutput(installs=[]))
    file = visit.table("installs", COLUMNS, listed.installs, listed.next_cursor)
    return file or visit.page(
        "installs.html",
        status=400 if errors else 200,
        errors=errors,
        installs=listed.installs,
        next_cursor=listed.next_cursor,
    )


async def show(visit: Visit) -> web.Response:
    """Show an install, and what can be done with it."""
    return visit.page("install.html", install=await _load(visit), plan=None, version="")


async def set_enabled(visit: Visit) -> web.Response:
    """Enable or disable an install."""
    fields = SetInstallEnabledInput(
        install_id=visit.request.match_info["id"], enabled=visit.form.get("enabled") == "yes"
    )
    await visit.change("setInstallEnabled", fields, SetInstallEnabledOutput)
    return see_other(visit.request.path.removesuffix("/enabled"))


async def update(visit: Visit) -> web.Response:
    """Show what moving to a version would change; with ``action`` ``apply`` move."""
    install, version = await _load(visit), visit.form.get("version", "").strip()
    applying = visit.form.get("action") == "apply"
    fields = UpdateInstallInput(
        install_id=install.id,
        version=version or None,
        disable_missing_schedules=visit.form.get("disable_missing") == "yes",
        dry_run=not applying,
    )
    outcome = await visit.try_change("updateInstall", fields, UpdateInstallOutput)
    if applying and outcome.success:
        return see_other(f"/installs/{install.id}")
    return visit.page(
        "install.html",
        status=200 if outcome.success else 400,
        install=install,
        plan=outcome,
        version=version,
    )


async def uninstall(visit: Visit) -> web.Response:
    """Remove an install, where its name was typed."""
    install = await _load(visit)
    if visit.form.get("confirm", "").strip() != confirmation(install):
        raise ServiceError(
            Code.VALIDATION_FAILED, f"Not removed: type {confirmation(install)} to confirm"
        )
    await visit.change("uninstall", UninstallInput(install.id), UninstallOutput)
    return see_other("/installs")


def confirmation(install: InstallInfo) -> str:
    """Return what has to be typed to remove an install."""
    return (install.name or "").strip() or install.id[:8]


async def _load(visit: Visit) -> InstallInfo:
    fields = ListInstallsInput(id_prefix=visit.request.match_info["id"], limit=1)
    listed = await visit.read("listInstalls", fields, ListInstallsOutput)
    if not listed.installs:
        raise not_found("Install")
    return listed.installs[0]


ROUTES = (
    ConsoleRoute("GET", "/installs", show_all),
    ConsoleRoute("GET", ONE, show),
    ConsoleRoute("POST", f"{ONE}/enabled", set_enabled, needs=WRITE),
    ConsoleRoute("POST", f"{ONE}/update", update, needs=WRITE),
    ConsoleRoute("POST", f"{ONE}/uninstall", uninstall, needs=WRITE),
)
