"""Audit and events: who changed what, and what happens now."""

from typing import Any

import msgspec
from aiohttp import web

from console import tables
from console.visit import ConsoleRoute, Visit
from contracts.admin_reads import AuditLogInput, AuditLogOutput

LIMIT = 50
SHOWN_EVENTS = 100
COLUMNS = tables.attributes(
    "id", "at", "tenant_id", "install_id", "actor", "trigger", "op", "request_id"
)
EVENT_COLUMNS = tables.attributes("id", "at", "type", "tenant_id", "install_id")


async def show(visit: Visit) -> web.Response:
    """Show a page of audit entries, newest first, or its rows as a file."""
    fields = AuditLogInput(
        tenant_id=visit.query("tenant"),
        install_id=visit.query("install"),
        since=visit.query("since"),
        limit=LIMIT,
        cursor=visit.query("cursor"),
    )
    log = await visit.read("auditLog", fields, AuditLogOutput)
    columns: dict[str, Any] = {**COLUMNS, "changes": visit.audit_text}
    file = visit.table("audit", columns, log.entries, log.next_cursor)
    return file or visit.page("audit.html", entries=log.entries, next_cursor=log.next_cursor)


async def show_events(visit: Visit) -> web.Response:
    """Show the last events that this process has heard, newest first."""
    events = visit.parts.feed.recent(visit.person)[:SHOWN_EVENTS]
    file = visit.table("events", EVENT_COLUMNS, events, None)
    return file or visit.page(
        "events.html",
        events=events,
        data={event.id: msgspec.json.encode(event.data).decode() for event in events},
    )


ROUTES = (
    ConsoleRoute("GET", "/audit", show),
    ConsoleRoute("GET", "/events", show_events),
)
