"""Admin operations that list tenants and installs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import admin_reads as contract
from contracts.times import wire_time
from service.operations.admin.pages import (
    BY_ID,
    BY_TENANT,
    DEFAULT_LIMIT,
    cursor_errors,
    fit_page,
    id_range,
    read_cursor,
)
from service.operations.admin.transaction import resolve_tenant
from service.operations.context import Answer, Call
from service.rules import cursors
from service.rules.capabilities import effective
from service.rules.limits import rate_used
from service.storage.engine import clock
from service.storage.platform import install_pages, tenants
from service.storage.platform.install_pages import InstallFilter, ListedInstall
from service.storage.platform.tenants import Tenant
from service.storage.runs import usage
from service.storage.runs.usage import UsedShare

DAY = timedelta(days=1)


async def list_tenants(call: Call, request: contract.ListTenantsInput) -> Answer:
    """Answer a page of tenants by id; one tenant where the token or the request names it."""
    tenant_id = resolve_tenant(call, request.tenant_id)
    if tenant_id is not None:
        rows = await tenants.load(call.connection, [tenant_id])
        return contract.ListTenantsOutput(tenants=await _tenant_infos(call, rows, request.paused))
    (after,) = read_cursor(request.cursor, BY_TENANT) or ("",)
    limit = request.limit or DEFAULT_LIMIT
    rows = await tenants.page(call.connection, after, limit + 1, paused=request.paused)
    shown, more = fit_page(rows, limit, lambda row: len(row.id) + 1000)
    return contract.ListTenantsOutput(
        tenants=await _tenant_infos(call, shown, request.paused),
        next_cursor=cursors.write(shown[-1].id) if more else None,
    )


async def list_installs(call: Call, request: contract.ListInstallsInput) -> Answer:
    """Answer a page of installs by tenant, then id."""
    filter_ = InstallFilter(
        tenant_id=resolve_tenant(call, request.tenant_id),
        publisher=request.publisher,
        name=request.name,
        version=request.version,
        enabled=request.enabled,
        id_range=id_range(request.id_prefix),
        after=read_cursor(request.cursor, BY_ID),
    )
    limit = request.limit or DEFAULT_LIMIT
    rows = await install_pages.page(call.connection, filter_, limit + 1)
    shown, more = fit_page(rows, limit, lambda _: 1500)
    owners = sorted({row.install.tenant_id for row in shown})
    pauses = await tenants.pauses_of(call.connection, owners)
    now = call.policy.clock(await clock.read(call.connection))
    ids = [row.install.id for row in shown]
    used = await usage.of_installs(call.connection, owners, ids, now - DAY, now)
    return contract.ListInstallsOutput(
        installs=[
            _install_info(call, row, row.install.tenant_id in pauses, used[row.install.id], now)
            for row in shown
        ],
        next_cursor=(
            cursors.write(shown[-1].install.tenant_id, shown[-1].install.id) if more else None
        ),
    )


def tenant_page_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``listTenants`` that its field types do not cover."""
    return cursor_errors(values, BY_TENANT)


def install_page_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``listInstalls`` that its field types do not cover."""
    return cursor_errors(values, BY_ID)


def _is_listed(row: Tenant, paused: bool | None) -> bool:
    is_paused = row.pause is not None
    has_rows = is_paused or row.installs > 0 or row.runner_pool is not None
    return paused in {None, is_paused} and has_rows


async def _tenant_infos(
    call: Call, rows: Sequence[Tenant], paused: bool | None
) -> list[contract.TenantInfo]:
    listed = [row for row in rows if _is_listed(row, paused)]
    now = call.policy.clock(await clock.read(call.connection))
    ids = [row.id for row in listed]
    used = await usage.of_tenants(call.connection, ids, now - DAY, now)
    return [_tenant_info(call, row, used[row.id], now) for row in listed]


def _tenant_info(call: Call, row: Tenant, used: UsedShare, now: datetime) -> contract.TenantInfo:
    pause = row.pause
    return contract.TenantInfo(
        tenant_id=row.id,
        installs=row.installs,
        enabled_installs=row.enabled_installs,
        schedules=row.schedules,
        enabled_schedules=row.enabled_schedules,
        runs_of_day=used.runs,
        failures_of_day=used.failures,
        rate_used=rate_used(used.accepted, now),
        rate_limit=call.policy.limits.manual_runs_per_minute,
        paused=None
        if pause is None
        else contract.TenantPause(
            since=wire_time(pause.paused_at), by=pause.paused_by, reason=pause.reason
        ),
        runner_pool=row.runner_pool,
    )


def _install_info(
    call: Call, row: ListedInstall, paused: bool, used: UsedShare, now: datetime
) -> contract.InstallInfo:
    install = row.install
    capabilities = effective(
        install.granted,
        install.providers,
        install.declared,
        declared_is_granted=call.policy.declared_is_granted,
    )
    return contract.InstallInfo(
        id=str(install.id),
        tenant_id=install.tenant_id,
        registry_id=str(install.registry_id),
        publisher=row.publisher,
        name=row.name,
        version_id=str(install.version_id),
        version=row.version,
        enabled=install.enabled,
        tenant_paused=paused,
        capabilities=sorted(capabilities),
        schedules=row.schedules,
        enabled_schedules=row.enabled_schedules,
        quota=call.policy.limits.max_schedules,
        runs_of_day=used.runs,
        failures_of_day=used.failures,
        rate_used=rate_used(used.accepted, now),
        rate_limit=call.policy.limits.changes_per_minute,
        updated_at=_time(row.updated_at),
    )


def _time(at: datetime | None) -> str | None:
    # The platform may have made these columns without a zone; they hold UTC.
    if at is None:
        return None
    return wire_time(at if at.tzinfo is not None else at.replace(tzinfo=UTC))
