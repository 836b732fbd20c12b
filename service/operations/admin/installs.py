"""Admin operations on installs and tenants: register, switch, remove."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import structs

from contracts import admin_installs as contract
from contracts.errors import Code
from contracts.events import EventType
from service.operations.admin.slices import in_slices
from service.operations.admin.transaction import (
    INSTALL_NOT_FOUND,
    AdminContext,
    AppliedAdminChange,
    make_entry,
    make_event,
    resolve_tenant,
)
from service.operations.admin.views import MAX_HANDLES, foreign_handle
from service.operations.context import Answer, field_refusal, refusal
from service.operations.materialise import materialise_missing
from service.rules import admin_fields, payload
from service.rules.endpoints import is_entry, read_manifest
from service.rules.planning import SlotCache, UnplannableError
from service.storage import removal
from service.storage.engine.errors import referenced_by
from service.storage.platform import installs, registry, switches, versions
from service.storage.platform.installs import Install
from service.storage.platform.registry import VersionDiffersError
from service.storage.schedules import admin_search, adoption, stale_timers, timers
from service.storage.schedules.adoption import RunnerHandle
from service.storage.schedules.timers import Timer

MAX_STALE_TIMERS = 100_000
NOT_JSON = "Must be JSON-serializable"
MALFORMED = "Malformed endpoint"
NOT_REGISTERED = (
    "is not registered with this manifest and content hash, which takes an operator's key"
)


async def register_install(
    context: AdminContext, request: contract.RegisterInstallInput
) -> AppliedAdminChange | Answer:
    """Install a version of an extension, which an operator's key registers first if need be."""
    call, tenant_id = context.call, request.tenant_id
    resolve_tenant(call, tenant_id)
    errors = await _manifest_errors(request)
    if errors:
        return field_refusal(errors)
    manifest, is_operator = request.manifest, context.scope is None
    write = registry.register if is_operator else registry.install_registered
    try:
        rows = await write(
            call.connection,
            tenant_id,
            manifest,
            request.content_hash,
            request.grants,
            request.config,
        )
    except VersionDiffersError as difference:
        named = f"{manifest.publisher}/{manifest.name} {manifest.version}"
        # One message for tenants: what differs would tell them what others have registered.
        differs = f"is registered with another {difference}" if is_operator else NOT_REGISTERED
        return refusal(Code.CONFLICT, f"{named} {differs}")
    if rows.version_added:
        listed = read_manifest(msgspec.json.encode(manifest.api.endpoints).decode())
        await materialise_missing(call.connection, rows.version_id, listed)
    answer = contract.RegisterInstallOutput(
        success=True,
        registry_id=str(rows.registry_id),
        version_id=str(rows.version_id),
        install_id=str(rows.install_id),
        installed_version_id=str(rows.installed_version_id),
    )
    if not rows.changed:
        return answer
    shared = {
        "publisher": manifest.publisher,
        "name": manifest.name,
        "version": manifest.version,
        "contentHash": request.content_hash,
    }
    entries = [make_entry(tenant_id, {**shared, "grants": request.grants}, rows.install_id)]
    if rows.bundle_added and not rows.version_added:
        users = await versions.installs_of(call.connection, [rows.version_id])
        entries += [
            make_entry(user.tenant_id, shared, user.install_id)
            for user in users
            if user.install_id != rows.install_id
        ]
    return AppliedAdminChange(answer=answer, entries=entries, install_id=rows.install_id)


async def set_install_enabled(
    context: AdminContext, request: contract.SetInstallEnabledInput
) -> AppliedAdminChange | Answer:
    """Enable an install, from the next slot on, or disable it."""
    install = await lock_install(context, UUID(request.install_id))
    if install is None:
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    answer = contract.SetInstallEnabledOutput(success=True)
    if install.enabled == request.enabled:
        return answer
    connection, tenant_id = context.call.connection, install.tenant_id
    await switches.set_enabled(connection, tenant_id, install.id, request.enabled, context.now)
    if request.enabled:
        await _skip_overdue(context, tenant_id, install.id)
    changes = {"enabled": request.enabled}
    return AppliedAdminChange(
        answer=answer,
        entries=[make_entry(tenant_id, changes, install.id)],
        install_id=install.id,
        events=[make_event(EventType.INSTALL_UPDATED, tenant_id, install.id, changes)],
    )


async def set_tenant_paused(
    context: AdminContext, request: contract.SetTenantPausedInput
) -> AppliedAdminChange | Answer:
    """Pause a tenant, or resume it from the next slot."""
    call, tenant_id = context.call, request.tenant_id
    resolve_tenant(call, tenant_id)
    answer = contract.SetTenantPausedOutput(success=True)
    by = f"{call.claims.iss}/{call.claims.sub}"
    reason = (request.reason or "").strip() or None
    if not await switches.set_paused(
        call.connection, tenant_id, request.paused, context.now, by, reason
    ):
        return answer
    if not request.paused:
        await _skip_overdue(context, tenant_id, None)
    changes: dict[str, Any] = {"paused": request.paused}
    if reason is not None:
        changes["reason"] = reason
    return AppliedAdminChange(answer=answer, entries=[make_entry(tenant_id, changes)])


async def uninstall(
    context: AdminContext, request: contract.UninstallInput
) -> AppliedAdminChange | Answer:
    """Remove an install and all that belongs to it except its audit entries."""
    install = await lock_install(context, UUID(request.install_id))
    if install is None:
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    handles = await adoption.handles(context.call.connection, install.tenant_id, [install.id])
    removed = await _remove(context, install.tenant_id, [install.id])
    if isinstance(removed, str):
        return refusal(Code.CONFLICT, removed)
    changes = {"schedulesRemoved": removed.schedules, "runsRemoved": removed.runs}
    return AppliedAdminChange(
        answer=contract.UninstallOutput(
            success=True,
            schedules_removed=removed.schedules,
            runs_removed=removed.runs,
            **_left(handles),
        ),
        entries=[make_entry(install.tenant_id, {**changes, **_audited(handles)}, install.id)],
        events=[make_event(EventType.INSTALL_REMOVED, install.tenant_id, install.id, changes)],
    )


async def purge_tenant(
    context: AdminContext, request: contract.PurgeTenantInput
) -> AppliedAdminChange | Answer:
    """Remove all installs of a tenant, what is left of earlier ones, and its switches."""
    call, tenant_id = context.call, request.tenant_id
    resolve_tenant(call, tenant_id)
    ids = await removal.lock_installs_of(call.connection, tenant_id)
    orphaned = await removal.orphaned_installs(call.connection, tenant_id)
    handles = await adoption.handles(call.connection, tenant_id, [*ids, *orphaned])
    removed = await _remove(context, tenant_id, [*ids, *orphaned])
    if isinstance(removed, str):
        return refusal(Code.CONFLICT, removed)
    deleted_rows = await removal.delete_tenant_state(call.connection, tenant_id)
    answer = contract.PurgeTenantOutput(
        success=True,
        installs_removed=removed.installs,
        schedules_removed=removed.schedules,
        runs_removed=removed.runs,
        **_left(handles),
    )
    if not (ids or orphaned or deleted_rows):
        return answer
    changes = {
        "installsRemoved": removed.installs,
        "schedulesRemoved": removed.schedules,
        "runsRemoved": removed.runs,
    }
    return AppliedAdminChange(
        answer=answer,
        entries=[make_entry(tenant_id, {**changes, **_audited(handles), "installs": ids})],
        events=[make_event(EventType.INSTALL_REMOVED, tenant_id, id_, {}) for id_ in ids],
    )


async def lock_install(context: AdminContext, install_id: UUID) -> Install | None:
    """Lock an install within the token's scope and return it; None without such an install."""
    connection = context.call.connection
    tenant_id = await admin_search.tenant_of(connection, context.scope, install_id)
    if tenant_id is not None:
        context.log_fields.update(tenant=tenant_id, install=str(install_id))
    return None if tenant_id is None else await installs.lock(connection, tenant_id, install_id)


def _left(handles: Sequence[RunnerHandle]) -> dict[str, Any]:
    """Return what an answer says of the jobs that other job runners have of removed schedules."""
    shown = [foreign_handle(handle) for handle in handles[:MAX_HANDLES]]
    return {"handles_in_all": len(handles), "handles": shown} if handles else {}


def _audited(handles: Sequence[RunnerHandle]) -> dict[str, Any]:
    return {"handles": [foreign_handle(handle) for handle in handles]} if handles else {}


async def _remove(
    context: AdminContext, tenant_id: str, install_ids: list[UUID]
) -> removal.Removed | str:
    """Remove installs, or return the refusal when a platform row still refers to one."""
    try:
        async with context.call.connection.transaction():
            return await removal.remove(context.call.connection, tenant_id, install_ids)
    except Exception as error:
        table = referenced_by(error)
        if table is None:
            raise
        return f"Install is still referred to by {table}"


async def _skip_overdue(context: AdminContext, tenant_id: str, install_id: UUID | None) -> None:
    """Move overdue timers to their next slot: the slots in between are neither fired nor missed.

    Stale timers are computed again as well.
    """
    connection, advanced = context.call.connection, list[Timer]()
    slot_cache = SlotCache(spread=context.call.policy.spread)
    overdue = await timers.overdue(connection, tenant_id, install_id, context.now)
    async for timer in in_slices(overdue):
        try:
            due_at = slot_cache.start_after(
                timer.schedule_id, timer.cron, timer.timezone, context.now
            )
        except UnplannableError:
            continue  # the planner reports it on the schedule
        advanced.append(structs.replace(timer, due_at=due_at))
    await timers.move(connection, advanced)
    stale = await stale_timers.find(
        connection, context.now, slot_cache, MAX_STALE_TIMERS, tenant_id, install_id
    )
    await stale_timers.repair(connection, stale, context.now, slot_cache)


async def _manifest_errors(request: contract.RegisterInstallInput) -> dict[str, Any]:
    errors = {}
    async for index, listed in in_slices(enumerate(request.manifest.api.endpoints)):
        if not is_entry(listed.method, listed.path, listed.handler):
            errors[f"manifest.api.endpoints[{index}]"] = MALFORMED
        if len(errors) >= admin_fields.MAX_ERRORS:
            return errors
    if payload.check(request.config) is not None:
        errors["config"] = NOT_JSON
    if request.manifest.ui is not None and payload.check(request.manifest.ui) is not None:
        errors["manifest.ui"] = NOT_JSON
    return errors
