"""``updateInstall``: move an install to another version, and its schedules with it."""

from collections.abc import Sequence
from uuid import UUID

from contracts import admin_installs as contract
from contracts.admin_installs import ScheduleTarget
from contracts.errors import Code
from contracts.events import EventType
from service.operations.admin.endpoints import materialised_endpoints
from service.operations.admin.installs import lock_install
from service.operations.admin.transaction import (
    INSTALL_NOT_FOUND,
    AdminContext,
    AppliedAdminChange,
    make_entry,
    make_event,
)
from service.operations.context import Answer, field_refusal, refusal
from service.rules.endpoints import read_manifest
from service.rules.fields import REQUIRED
from service.rules.planning import SlotCache, UnplannableError
from service.rules.remap import Remap, RemapCandidate, key_of, remap
from service.storage.platform import versions
from service.storage.platform.installs import Install
from service.storage.platform.versions import Version
from service.storage.schedules import bulk, timers
from service.storage.schedules.rows import Schedule
from service.storage.schedules.timers import Timer

ONE_VERSION = "Give version or versionId, not both"
VERSION_NOT_FOUND = "Version not found"
DRIVEN_BY_OTHER = "another job runner drives them: adopt them first"


async def update_install(
    context: AdminContext, request: contract.UpdateInstallInput
) -> AppliedAdminChange | Answer:
    """Move an install to another version, or report which schedules have no endpoint there."""
    if (request.version is None) == (request.version_id is None):
        one = {"version": REQUIRED} if request.version is None else {"versionId": ONE_VERSION}
        return field_refusal(one)
    install = await lock_install(context, UUID(request.install_id))
    if install is None:
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    connection = context.call.connection
    version = await versions.find(
        connection,
        install.registry_id,
        id_=None if request.version_id is None else UUID(request.version_id),
        name=request.version,
    )
    if version is None:
        return refusal(Code.NOT_FOUND, VERSION_NOT_FOUND)
    rows = await materialised_endpoints(connection, version)
    stored = await bulk.lock_all(connection, install.tenant_id, install.id)
    plan = remap(
        [_candidate(schedule) for schedule in stored],
        [(row.id, row.method, row.path) for row in rows],
        read_manifest(version.manifest),
    )
    answer = _answer(stored, plan)
    blocking, why = plan.blocking, ""
    if request.disable_missing_schedules:
        blocking, why = plan.held, f"; {DRIVEN_BY_OTHER}"
    if blocking and not request.dry_run:
        return _blocked(answer, len(blocking), version, why)
    if request.dry_run or not _moves(install, version, stored, plan):
        return answer
    await _apply(context, install, version, stored, plan)
    return _applied_change(install, version, plan, answer)


def _candidate(schedule: Schedule) -> RemapCandidate:
    return RemapCandidate(
        id=schedule.id,
        key=key_of(schedule.endpoint_method, schedule.endpoint_path),
        enabled=schedule.enabled,
        marked=schedule.missing_endpoint,
        driven_by_other=schedule.driven_by_other,
    )


def _moves(install: Install, version: Version, stored: Sequence[Schedule], plan: Remap) -> bool:
    """Return whether the move changes anything; an install of that version may be up to date."""
    return (
        install.version_id != version.id
        or bool(plan.lost or plan.reenable)
        or any(
            plan.targets.get(schedule.id, schedule.endpoint_id) != schedule.endpoint_id
            for schedule in stored
        )
    )


def _answer(stored: Sequence[Schedule], plan: Remap) -> contract.UpdateInstallOutput:
    targets = {schedule.id: _target(schedule) for schedule in stored}
    return contract.UpdateInstallOutput(
        success=True,
        remapped=[target for id_, target in targets.items() if id_ in plan.targets],
        missing=[targets[id_] for id_ in plan.missing],
        reenabled=[targets[id_] for id_ in plan.reenable],
    )


def _target(schedule: Schedule) -> ScheduleTarget:
    return ScheduleTarget(
        schedule_id=str(schedule.id),
        name=schedule.name,
        method=schedule.endpoint_method or "",
        path=schedule.endpoint_path or "",
    )


def _blocked(
    answer: contract.UpdateInstallOutput, count: int, version: Version, why: str = ""
) -> contract.UpdateInstallOutput:
    subject = "1 schedule has" if count == 1 else f"{count} schedules have"
    return contract.UpdateInstallOutput(
        success=False,
        code=Code.SCHEDULE_REMAP_FAILED,
        error=f"{subject} no endpoint in version {version.version}{why}",
        missing=answer.missing,
    )


async def _apply(
    context: AdminContext,
    install: Install,
    version: Version,
    stored: Sequence[Schedule],
    plan: Remap,
) -> None:
    connection, tenant_id, now = context.call.connection, install.tenant_id, context.now
    await versions.move(connection, tenant_id, install.id, version.id, now)
    await bulk.set_endpoints(connection, tenant_id, install.id, dict(plan.targets))
    await bulk.disable_missing(connection, tenant_id, plan.lost, now)
    reenabled = set(plan.reenable)
    new_timers = _timers(install, [s for s in stored if s.id in reenabled], context)
    await bulk.reenable(connection, tenant_id, install.id, list(plan.reenable), now)
    await timers.remove(connection, [timer.key for timer in new_timers])
    await timers.add(connection, new_timers)


def _timers(install: Install, schedules: Sequence[Schedule], context: AdminContext) -> list[Timer]:
    """Return timers from now on, none for an unplannable schedule: the planner reports those."""
    slot_cache, new_timers = SlotCache(spread=context.call.policy.spread), []
    for schedule in schedules:
        try:
            due_at = slot_cache.start_after(
                schedule.id, schedule.cron, schedule.timezone, context.now
            )
        except UnplannableError:
            continue
        new_timers.append(
            Timer(
                install.tenant_id,
                schedule.id,
                install.id,
                schedule.cron,
                schedule.timezone,
                due_at,
            )
        )
    return new_timers


def _applied_change(
    install: Install, version: Version, plan: Remap, answer: contract.UpdateInstallOutput
) -> AppliedAdminChange:
    tenant_id = install.tenant_id
    changes = {
        "versionId": [install.version_id, version.id],
        "version": version.version,
        "remapped": len(plan.targets),
        "disabled": plan.lost,
        "reenabled": plan.reenable,
    }
    disabled, fields = {"error": bulk.MISSING_ENDPOINT}, {"fields": ["enabled"]}
    moved = {"versionId": version.id, "version": version.version}
    return AppliedAdminChange(
        answer=answer,
        install_id=install.id,
        entries=[make_entry(tenant_id, changes, install.id)],
        events=[
            make_event(EventType.INSTALL_UPDATED, tenant_id, install.id, moved),
            *(
                make_event(EventType.SCHEDULE_DISABLED, tenant_id, install.id, disabled, id_)
                for id_ in plan.lost
            ),
            *(
                make_event(EventType.SCHEDULE_UPDATED, tenant_id, install.id, fields, id_)
                for id_ in plan.reenable
            ),
        ],
    )
