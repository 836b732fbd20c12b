"""Audit and events: who changed what, and what happens now."""

from datetime import timedelta
from typing import Any

import msgspec
from aiohttp import web

from console import tables
from console.visit import ConsoleRoute, Visit
from contracts.admin import ADMIN_OPS
from contracts.admin_reads import AuditLogInput, AuditLogOutput
from contracts.events import EventType
from contracts.schedules import HOST_OPS
from contracts.times import wire_time

LIMIT = 50
FILTERED_PERIOD = timedelta(days=7)
CHANGES = sorted(
    {name for table in (ADMIN_OPS, HOST_OPS) for name, op in table.items() if op.mutates}
)
"""What a person may look for: the operations that leave entries."""
SHOWN_EVENTS = 100
EVENT_TYPES = [kind.value for kind in EventType]
COLUMNS = tables.attributes(
    "id", "at", "tenant_id", "install_id", "actor", "trigger", "op", "request_id"
)
EVENT_COLUMNS = tables.attributes("id", "at", "type", "tenant_id", "install_id")


async def show(visit: Visit) -> web.Response:
    """Show a page of audit entries, newest first, or its rows as a file."""
    fields = AuditLogInput(
        tenant_id=visit.query("tenant"),
        install_id=visit.query("install"),
        schedule_id=visit.query("schedule"),
        actor=visit.query("actor"),
        op=visit.query("op"),
        since=visit.query("since") or _since(visit),
        until=visit.query("until"),
        limit=LIMIT,
        cursor=visit.query("cursor"),
    )
    found = visit.read("auditLog", fields, AuditLogOutput)
    log, errors = await visit.search(found, AuditLogOutput(entries=[]))
    columns: dict[str, Any] = {**COLUMNS, "changes": visit.audit_text}
    file = visit.table("audit", columns, log.entries, log.next_cursor)
    return file or visit.page(
        "audit.html",
        status=400 if errors else 200,
        errors=errors,
        entries=log.entries,
        next_cursor=log.next_cursor,
        since=fields.since,
        operations=CHANGES,
    )


def _since(visit: Visit) -> str | None:
    """Return since when entries of one person or operation are shown: few or none may fit."""
    if visit.query("actor") is None and visit.query("op") is None:
        return None
    return wire_time(visit.now.replace(minute=0, second=0, microsecond=0) - FILTERED_PERIOD)


async def show_events(visit: Visit) -> web.Response:
    """Show the last events that this process has heard, newest first, or those that fit."""
    wanted = {name: visit.query(name) for name in ("tenant", "schedule", "type")}
    events = [
        event
        for event in visit.parts.feed.recent(visit.person)
        if wanted["tenant"] in {None, event.tenant_id}
        and wanted["schedule"] in {None, event.schedule_id}
        and wanted["type"] in {None, event.type.value}
    ][:SHOWN_EVENTS]
    file = visit.table("events", EVENT_COLUMNS, events, None)
    return file or visit.page(
        "events.html",
        events=events,
        filtered=any(wanted.values()),
        types=EVENT_TYPES,
        data={event.id: msgspec.json.encode(event.data).decode() for event in events},
    )


ROUTES = (
    ConsoleRoute("GET", "/audit", show),
    ConsoleRoute("GET", "/events", show_events),
)
