"""The admin operation that lists schedules: filtered, searched, or sorted by their runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from msgspec import structs

from contracts import admin_schedules as contract
from contracts.admin_schedules import RunStatus
from contracts.times import wire_time
from service.operations.admin.pages import (
    BY_ID,
    BY_RUN,
    DEFAULT_LIMIT,
    cursor_errors,
    fit_page,
    id_range,
    read_cursor,
)
from service.operations.admin.slices import in_slices
from service.operations.admin.transaction import resolve_tenant
from service.operations.admin.views import admin_schedule_info
from service.operations.context import Answer, Call, field_refusal
from service.rules import admin_fields, cursors
from service.storage.runs import recent
from service.storage.schedules import admin_search, sorted_pages, text_search
from service.storage.schedules.admin_search import OwnedSchedule, ScheduleFilter
from service.storage.schedules.text_search import TextSearch

SORTED_ALONE = ("enabled", "failing", "idPrefix", "text", "cron", "held")
"""Members that do not go with ``sort``."""
RUN_CHARACTERS = 120
"""Of a run in short, as JSON."""
NEEDS_TENANT = "needs a tenantId"


async def list_schedules(call: Call, request: contract.ListSchedulesInput) -> Answer:
    """Answer a page of schedules by tenant, then id; or sorted by their runs."""
    tenant_id = resolve_tenant(call, request.tenant_id)
    install_id = None if request.install_id is None else UUID(request.install_id)
    if install_id is not None and tenant_id is None:
        tenant_id = await admin_search.tenant_of(call.connection, None, install_id) or ""
    if request.sort is not None:
        if request.sort == "last" and tenant_id is None:
            return field_refusal({"sort": NEEDS_TENANT})
        return await _sorted(call, request, tenant_id, install_id)
    filter_ = ScheduleFilter(
        tenant_id=tenant_id,
        install_id=install_id,
        enabled=request.enabled,
        failing=request.failing,
        id_range=id_range(request.id_prefix),
        after=read_cursor(request.cursor, BY_ID),
    )
    search = TextSearch(text=request.text or None, cron=request.cron or None, held=request.held)
    if not search.is_empty and filter_.id_range is None:
        return await _searched(call, request, filter_, search)
    rows = await admin_search.page(call.connection, filter_, _limit(request) + 1)
    shown, more = fit_page(rows, _limit(request), _sizes(request))
    return await _page(call, request, shown, _key(shown[-1]) if more else None)


async def _searched(
    call: Call, request: contract.ListSchedulesInput, filter_: ScheduleFilter, search: TextSearch
) -> Answer:
    found = await text_search.page(call.connection, filter_, search, _limit(request))
    shown, cut = fit_page(found.schedules, _limit(request), _sizes(request))
    after = _key(shown[-1]) if cut else found.after
    return await _page(call, request, shown, after)


async def _sorted(
    call: Call,
    request: contract.ListSchedulesInput,
    tenant_id: str | None,
    install_id: UUID | None,
) -> Answer:
    after = read_cursor(request.cursor, BY_RUN)
    limit = _limit(request)
    if request.sort == "last" and tenant_id is not None:
        page = await sorted_pages.by_last_run(call.connection, tenant_id, install_id, after, limit)
    else:
        page = await sorted_pages.by_next_run(call.connection, tenant_id, install_id, after, limit)
    shown, cut = fit_page(page.schedules, limit, _sizes(request))
    next_key = _run_key(shown[-1], request.sort) if cut else page.after
    return await _page(call, request, shown, next_key)


async def _page(
    call: Call,
    request: contract.ListSchedulesInput,
    shown: Sequence[OwnedSchedule],
    after: tuple[Any, ...] | None,
) -> contract.ListSchedulesOutput:
    infos = [admin_schedule_info(row) async for row in in_slices(shown)]
    if request.recent_runs:
        keys = [_key(row) for row in shown]
        runs = await recent.load(call.connection, keys, request.recent_runs)
        infos = [
            structs.replace(info, recent_runs=_marks(runs.get(row.schedule.id, [])))
            for info, row in zip(infos, shown, strict=True)
        ]
    return contract.ListSchedulesOutput(
        schedules=infos, next_cursor=None if after is None else cursors.write(*after)
    )


def _marks(runs: Sequence[recent.RecentRun]) -> list[contract.RunMark]:
    return [
        contract.RunMark(
            run_id=str(run.id), slot=wire_time(run.slot), status=cast("RunStatus", run.status)
        )
        for run in runs
    ]


def _key(row: OwnedSchedule) -> tuple[str, UUID]:
    return row.tenant_id, row.schedule.id


def _run_key(row: OwnedSchedule, sort: str | None) -> tuple[Any, ...] | None:
    at = row.schedule.last_run_at if sort == "last" else row.schedule.next_run_at
    return None if at is None else (at, *_key(row))


def _limit(request: contract.ListSchedulesInput) -> int:
    return request.limit or DEFAULT_LIMIT


def _sizes(request: contract.ListSchedulesInput) -> Callable[[OwnedSchedule], int]:
    beside_payload = 1000 + RUN_CHARACTERS * (request.recent_runs or 0)
    return lambda row: len(row.schedule.payload or "") + beside_payload


def schedule_page_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``listSchedules`` that its field types do not cover."""
    if values.get("sort") is None:
        return cursor_errors(values, BY_ID)
    refused = {
        name: admin_fields.invalid(name) for name in SORTED_ALONE if values.get(name) is not None
    }
    return {**refused, **cursor_errors(values, BY_RUN)}
