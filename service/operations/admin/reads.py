"""Admin operations that read schedules, runs, slots, endpoints and the audit."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts import admin_cron, admin_reads
from contracts import admin_schedules as contract
from contracts.errors import Code
from contracts.schedules import EndpointInfo
from contracts.times import wire_time
from service.operations.admin.pages import (
    BY_TIME,
    DEFAULT_LIMIT,
    cursor_errors,
    fit_page,
    read_cursor,
    read_instant,
    time_errors,
)
from service.operations.admin.pauses import current_pause, pauses_between
from service.operations.admin.slices import in_slices
from service.operations.admin.transaction import INSTALL_NOT_FOUND, resolve_tenant
from service.operations.admin.views import admin_schedule_info, audit_entry, run_info
from service.operations.context import Answer, Call, field_refusal, refusal
from service.operations.materialise import ensure_endpoints
from service.operations.views import endpoint_infos
from service.rules import admin_fields, cursors
from service.rules.cron_words import describe
from service.rules.endpoints import read_manifest
from service.rules.fields import NOT_FOUND, CheckedCreate, check_create
from service.rules.slot_preview import SlotPreview, preview
from service.rules.zones import load
from service.storage.engine import clock
from service.storage.engine.keyset import EARLIEST, LATEST, NEWEST
from service.storage.platform import endpoints
from service.storage.records import audit
from service.storage.runs import history
from service.storage.schedules import admin_search

DEFAULT_PREVIEW_COUNT = 10


async def get_schedule(call: Call, request: contract.GetScheduleInput) -> Answer:
    """Answer one schedule of any install that the token may see."""
    schedule = await admin_search.one(
        call.connection, resolve_tenant(call, None), UUID(request.schedule_id)
    )
    if schedule is None:
        return refusal(Code.NOT_FOUND, NOT_FOUND)
    return contract.GetScheduleOutput(
        schedule=admin_schedule_info(schedule),
        paused=await current_pause(call, schedule.tenant_id),
    )


async def run_history(call: Call, request: contract.RunHistoryInput) -> Answer:
    """Answer a page of runs, newest first, those of deleted schedules included."""
    tenant_id = resolve_tenant(call, request.tenant_id)
    if tenant_id is None and (request.schedule_id is not None or request.install_id is not None):
        tenant_id = await _tenant_of(call, request)
        if tenant_id is None:
            return contract.RunHistoryOutput(runs=[])
    filter_ = history.RunFilter(
        tenant_id=tenant_id,
        schedule_id=None if request.schedule_id is None else UUID(request.schedule_id),
        install_id=None if request.install_id is None else UUID(request.install_id),
        status=request.status,
        since=read_instant(request.since) or EARLIEST,
        until=read_instant(request.until) or LATEST,
        after=read_cursor(request.cursor, BY_TIME) or NEWEST,
    )
    limit = request.limit or DEFAULT_LIMIT
    rows = await history.page(call.connection, filter_, limit + 1)
    shown, more = fit_page(rows, limit, lambda row: len(row.error or "") + 1000)
    pauses: list[contract.PausedPeriod] = []
    if filter_.schedule_id is not None and tenant_id is not None:
        first = shown[-1].slot if more else filter_.since
        last = min(filter_.until, filter_.after[0])
        pauses = await pauses_between(call, tenant_id, filter_.schedule_id, first, last)
    return contract.RunHistoryOutput(
        runs=[run_info(row) for row in shown],
        next_cursor=cursors.write(shown[-1].slot, shown[-1].id) if more else None,
        pauses=pauses,
    )


async def preview_cron(call: Call, request: admin_cron.PreviewCronInput) -> Answer:
    """Answer the next slots of an expression, or its field errors."""
    checked = _checked_cron(call)
    start = read_instant(request.from_) or call.policy.clock(await clock.read(call.connection))
    zone = load(checked.timezone)
    assert checked.cron is not None  # noqa: S101 - checked before
    assert zone is not None  # noqa: S101 - likewise
    slots: list[SlotPreview] = []
    try:
        # Slot by slot: a rare one, of a leap day or so, is decades of clock changes away.
        async for _ in in_slices(range(request.count or DEFAULT_PREVIEW_COUNT)):
            after = slots[-1].utc if slots else start
            slots += preview(checked.cron, zone, after, 1)
    except (ValueError, OverflowError):  # beyond the last year of the calendar
        return field_refusal({"from": admin_fields.invalid("from")})
    return admin_cron.PreviewCronOutput(
        slots=[wire_time(slot.utc) for slot in slots],
        words=describe(checked.cron, checked.timezone),
        details=[
            admin_cron.CronSlot(
                utc=wire_time(slot.utc), local=slot.local.isoformat(), remark=slot.remark
            )
            for slot in slots
        ],
    )


async def list_endpoints(call: Call, request: contract.ListEndpointsInput) -> Answer:
    """Answer the endpoints of the install's version, materialised if necessary."""
    shown = await _endpoints(call, UUID(request.install_id))
    if shown is None:
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    return contract.ListEndpointsOutput(endpoints=shown)


async def audit_log(call: Call, request: admin_reads.AuditLogInput) -> Answer:
    """Answer a page of audit entries, newest first."""
    filter_ = audit.AuditFilter(
        tenant_id=resolve_tenant(call, request.tenant_id),
        install_id=None if request.install_id is None else UUID(request.install_id),
        schedule_id=None if request.schedule_id is None else UUID(request.schedule_id),
        actor=request.actor,
        op=request.op,
        since=read_instant(request.since) or EARLIEST,
        after=read_cursor(request.cursor, BY_TIME) or _before(request.until),
    )
    limit = request.limit or DEFAULT_LIMIT
    rows = await audit.page(call.connection, filter_, limit + 1)
    shown, more = fit_page(rows, limit, lambda row: len(row.changes) + 500)
    return admin_reads.AuditLogOutput(
        entries=[audit_entry(row) for row in shown],
        next_cursor=cursors.write(shown[-1].at, shown[-1].id) if more else None,
    )


def _before(until: str | None) -> tuple[datetime, UUID]:
    """Return the key of a page's first row that is not after an instant."""
    instant = read_instant(until)
    return NEWEST if instant is None else (instant, NEWEST[1])


async def _tenant_of(call: Call, request: contract.RunHistoryInput) -> str | None:
    """Return the tenant of the schedule or install whose runs an operator asks for."""
    if request.schedule_id is not None:
        schedule = await admin_search.one(call.connection, None, UUID(request.schedule_id))
        if schedule is not None:
            return schedule.tenant_id
    if request.install_id is None:
        return None
    return await admin_search.tenant_of(call.connection, None, UUID(request.install_id))


async def _endpoints(call: Call, install_id: UUID) -> list[EndpointInfo] | None:
    tenant_id = await admin_search.tenant_of(
        call.connection, resolve_tenant(call, None), install_id
    )
    if tenant_id is None:
        return None
    listed = await endpoints.list_with_install(call.connection, tenant_id, install_id)
    if listed is None:
        return None
    install, rows = listed
    manifest = read_manifest(install.manifest)
    rows = await ensure_endpoints(call.connection, install.version_id, manifest, rows)
    return endpoint_infos(rows, manifest)


def _checked_cron(call: Call) -> CheckedCreate:
    fields = {name: call.raw.get(name) for name in ("cron", "timezone")}
    return check_create({"endpoint": "/", **fields}, call.policy.limits)


def cron_errors(call: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``previewCron`` that its field types do not cover."""
    return {**_checked_cron(call).errors, **time_errors(values, "from")}


def run_page_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``runHistory`` that its field types do not cover."""
    return {**cursor_errors(values, BY_TIME), **time_errors(values, "since", "until")}


def audit_page_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``auditLog`` that its field types do not cover."""
    alone = values.get("scheduleId") is not None and values.get("installId") is None
    own = {"installId": admin_fields.invalid("installId")} if alone else {}
    return {**own, **cursor_errors(values, BY_TIME), **time_errors(values, "since", "until")}
