"""Admin operations on installs and tenants: register, switch, remove."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import structs

from contracts import admin_installs as contract
from contracts.errors import Code
from contracts.events import EventType
from service.operations.admin.transaction import (
    INSTALL_NOT_FOUND,
    Ground,
    Made,
    entry,
    make_event,
    within,
)
from service.operations.context import Answer, field_refusal, refusal
from service.rules import payload
from service.rules.endpoints import read_manifest
from service.rules.planning import SlotCache, UnplannableError
from service.storage import removal
from service.storage.engine.errors import referenced_by
from service.storage.platform import endpoints, installs, registry, switches
from service.storage.platform.installs import Install
from service.storage.platform.registry import VersionDiffersError
from service.storage.schedules import admin_search, timers
from service.storage.schedules.timers import Timer

NOT_JSON = "Must be JSON-serializable"
MALFORMED = "Malformed endpoint"


async def register_install(ground: Ground, asked: contract.RegisterInstallInput) -> Made | Answer:
    """Make an extension's version known and install it; what is there already stays as it is."""
    call, tenant_id = ground.call, within(ground.call, asked.tenant_id) or asked.tenant_id
    errors = _manifest_errors(asked)
    if errors:
        return field_refusal(errors)
    try:
        rows = await registry.register(
            call.connection,
            tenant_id,
            asked.manifest,
            asked.content_hash,
            asked.grants,
            asked.config,
        )
    except VersionDiffersError as difference:
        named = f"{asked.manifest.publisher}/{asked.manifest.name} {asked.manifest.version}"
        return refusal(Code.CONFLICT, f"{named} is registered with another {difference}")
    listed = read_manifest(msgspec.json.encode(asked.manifest.api.endpoints).decode())
    created = await endpoints.materialise(call.connection, rows.version_id, listed.entries)
    answer = contract.RegisterInstallOutput(
        success=True,
        registry_id=str(rows.registry_id),
        version_id=str(rows.version_id),
        install_id=str(rows.install_id),
        installed_version_id=str(rows.installed_version_id),
    )
    if not rows.changed and not created:
        return answer
    changes = {
        "publisher": asked.manifest.publisher,
        "name": asked.manifest.name,
        "version": asked.manifest.version,
        "contentHash": asked.content_hash,
        "grants": asked.grants,
    }
    entries = [entry(tenant_id, changes, rows.install_id)]
    return Made(answer=answer, entries=entries, install_id=rows.install_id)


async def set_install_enabled(
    ground: Ground, asked: contract.SetInstallEnabledInput
) -> Made | Answer:
    """Switch an install on or off; on means from the next slot."""
    install = await locked(ground, UUID(asked.install_id))
    if install is None:
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    answer = contract.SetInstallEnabledOutput(success=True)
    if install.enabled == asked.enabled:
        return answer
    connection, tenant_id = ground.call.connection, install.tenant_id
    await switches.set_enabled(connection, tenant_id, install.id, asked.enabled, ground.now)
    if asked.enabled:
        await _skip_overdue(ground, tenant_id, install.id)
    changes = {"enabled": asked.enabled}
    return Made(
        answer=answer,
        entries=[entry(tenant_id, changes, install.id)],
        install_id=install.id,
        events=[make_event(EventType.INSTALL_UPDATED, tenant_id, install.id, changes)],
    )


async def set_tenant_paused(ground: Ground, asked: contract.SetTenantPausedInput) -> Made | Answer:
    """Pause a tenant, or lift its pause; firing then goes on with the next slot."""
    call, tenant_id = ground.call, asked.tenant_id
    within(call, tenant_id)
    answer = contract.SetTenantPausedOutput(success=True)
    by = f"{call.claims.iss}/{call.claims.sub}"
    if not await switches.set_paused(call.connection, tenant_id, asked.paused, ground.now, by):
        return answer
    if not asked.paused:
        await _skip_overdue(ground, tenant_id, None)
    return Made(answer=answer, entries=[entry(tenant_id, {"paused": asked.paused})])


async def uninstall(ground: Ground, asked: contract.UninstallInput) -> Made | Answer:
    """Remove an install and everything of it but the audit."""
    install = await locked(ground, UUID(asked.install_id))
    if install is None:
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    removed = await _remove(ground, install.tenant_id, [install.id])
    if isinstance(removed, str):
        return refusal(Code.CONFLICT, removed)
    changes = {"schedulesRemoved": removed.schedules, "runsRemoved": removed.runs}
    return Made(
        answer=contract.UninstallOutput(
            success=True, schedules_removed=removed.schedules, runs_removed=removed.runs
        ),
        entries=[entry(install.tenant_id, changes, install.id)],
        events=[make_event(EventType.INSTALL_REMOVED, install.tenant_id, install.id, changes)],
    )


async def purge_tenant(ground: Ground, asked: contract.PurgeTenantInput) -> Made | Answer:
    """Remove all installs of a tenant, what others left of removed ones, and its switches."""
    call, tenant_id = ground.call, asked.tenant_id
    within(call, tenant_id)
    ids = await removal.lock_installs_of(call.connection, tenant_id)
    strays = await removal.orphaned_installs(call.connection, tenant_id)
    removed = await _remove(ground, tenant_id, [*ids, *strays])
    if isinstance(removed, str):
        return refusal(Code.CONFLICT, removed)
    forgotten = await removal.delete_tenant_state(call.connection, tenant_id)
    answer = contract.PurgeTenantOutput(
        success=True,
        installs_removed=removed.installs,
        schedules_removed=removed.schedules,
        runs_removed=removed.runs,
    )
    if not (ids or strays or forgotten):
        return answer
    changes = {
        "installsRemoved": removed.installs,
        "schedulesRemoved": removed.schedules,
        "runsRemoved": removed.runs,
    }
    return Made(
        answer=answer,
        entries=[entry(tenant_id, {**changes, "installs": ids})],
        events=[make_event(EventType.INSTALL_REMOVED, tenant_id, id_, {}) for id_ in ids],
    )


async def locked(ground: Ground, install_id: UUID) -> Install | None:
    """Lock an install within the token's scope, None where there is none."""
    connection = ground.call.connection
    tenant_id = await admin_search.tenant_of(connection, ground.scope, install_id)
    if tenant_id is not None:
        ground.call.found.update(tenant=tenant_id, install=str(install_id))
    return None if tenant_id is None else await installs.lock(connection, tenant_id, install_id)


async def _remove(ground: Ground, tenant_id: str, install_ids: list[UUID]) -> removal.Removed | str:
    """Remove installs, or say what of the platform's still refers to one of them."""
    try:
        async with ground.call.connection.transaction():
            return await removal.remove(ground.call.connection, tenant_id, install_ids)
    except Exception as error:
        table = referenced_by(error)
        if table is None:
            raise
        return f"Install is still referred to by {table}"


async def _skip_overdue(ground: Ground, tenant_id: str, install_id: UUID | None) -> None:
    """Go on with the next slot: nothing of the time that is over is made up or counts as missed."""
    connection, slot_cache, moved = ground.call.connection, SlotCache(), list[Timer]()
    for timer in await timers.overdue(connection, tenant_id, install_id, ground.now):
        try:
            due_at = slot_cache.following(timer.cron, timer.timezone, ground.now)
        except UnplannableError:
            continue  # the planner says so on the schedule
        moved.append(structs.replace(timer, due_at=due_at))
    await timers.move(connection, moved)


def _manifest_errors(asked: contract.RegisterInstallInput) -> dict[str, Any]:
    errors = {}
    for number, listed in enumerate(asked.manifest.api.endpoints):
        if read_manifest(msgspec.json.encode([listed]).decode()).malformed:
            errors[f"manifest.api.endpoints[{number}]"] = MALFORMED
    if payload.check(asked.config) is not None:
        errors["config"] = NOT_JSON
    return errors
