"""``adopt``: take over schedules from another job runner."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

from msgspec import Struct

from contracts import admin_installs as contract
from contracts.admin_installs import Problem
from contracts.context import ALL_TENANTS
from contracts.errors import Code, ServiceError
from service.operations.admin.slices import in_slices
from service.operations.admin.transaction import (
    AdminContext,
    AppliedAdminChange,
    make_entry,
    resolve_tenant,
)
from service.operations.admin.views import MAX_HANDLES, foreign_handle
from service.operations.context import Answer, field_refusal
from service.rules.fields import NOT_FOUND
from service.rules.planning import SlotCache, UnplannableError
from service.storage import consistency
from service.storage.records.admin_change import AuditChange
from service.storage.schedules import adoption, pg_boss, timers
from service.storage.schedules.adoption import RunnerHandle, TenantKey, UnmanagedSchedule
from service.storage.schedules.timers import Timer

NO_SCHEDULES = "No pg-boss schedules in this schema"
OPERATORS_SCHEMA = "Only a platform operator may name a pg-boss schema"
INSTALL_GONE = "Its install is gone"

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_NAME = re.compile(f"extsched:({_UUID}):({_UUID})")


class AdoptionResult(Struct, frozen=True):
    """The adopted schedules, (tenant, install) → ids, and the refused ones, id → reason.

    ``handles`` are those by which other job runners drove the adopted ones.
    """

    adopted: dict[TenantKey, list[UUID]]
    refused: dict[UUID, str]
    handles: dict[UUID, RunnerHandle]

    @property
    def count(self) -> int:
        """Return the number of adopted schedules."""
        return sum(len(ids) for ids in self.adopted.values())


async def adopt(context: AdminContext, request: contract.AdoptInput) -> AppliedAdminChange | Answer:
    """Take over every schedule in scope, and remove it from pg-boss."""
    connection, schema = context.call.connection, request.pg_boss_schema
    tenant_id = resolve_tenant(context.call, request.tenant_id)
    install_id = None if request.install_id is None else UUID(request.install_id)
    if schema is not None and context.scope is not None:
        raise ServiceError(Code.DENIED, OPERATORS_SCHEMA)
    if schema is not None and not await pg_boss.has_schedules(connection, schema):
        return field_refusal({"pgBossSchema": NO_SCHEDULES})
    installs = await adoption.installs_with_unmanaged(connection, tenant_id, install_id)
    only = None if request.schedule_ids is None else {UUID(id_) for id_ in request.schedule_ids}
    result = await adopt_installs(context, installs, from_others=True, only=only)
    problems = result.refused | await _missing(context, tenant_id, only)
    removed, queues = list[str](), list[str]()
    rows = 0
    if schema is not None:
        removed = await _names_to_remove(context, schema, tenant_id, install_id, result, only)
        rows = await pg_boss.remove(connection, schema, removed)
        queues = await pg_boss.remove_queues(connection, schema, removed)
    left = [
        handle
        for handle in result.handles.values()
        if handle.runner_schedule_id is None or handle.runner_schedule_id not in removed
    ]
    answer = contract.AdoptOutput(
        success=True,
        adopted=result.count,
        pg_boss_removed=rows,
        pg_boss_queues_removed=len(queues),
        handles_in_all=len(left),
        handles=[foreign_handle(handle) for handle in left[:MAX_HANDLES]],
        problems=[Problem(subject=str(id_), message=reason) for id_, reason in problems.items()],
    )
    if request.dry_run or not (result.count or rows):
        return answer
    return AppliedAdminChange(answer=answer, entries=_entries(tenant_id, request, result, removed))


async def adopt_installs(
    context: AdminContext,
    installs: Sequence[TenantKey],
    *,
    from_others: bool = False,
    only: Collection[UUID] | None = None,
) -> AdoptionResult:
    """Claim the enabled schedules of these installs, and add the timers that they lack.

    Those of other job runners, disabled ones included, only where they are taken ``from_others``;
    with ``only``, no schedules but these.
    """
    connection = context.call.connection
    slot_cache = SlotCache(spread=context.call.policy.spread)
    existing = await adoption.lock_installs(connection, installs)
    stale: list[TenantKey] = []
    result, new_timers = AdoptionResult(defaultdict(list), {}, {}), list[Timer]()
    async for schedule in in_slices(await adoption.unmanaged_schedules(connection, installs)):
        key = (schedule.tenant_id, schedule.install_id)
        if schedule.driven_by_other and not from_others:
            continue
        if only is not None and schedule.id not in only:
            continue
        try:
            timer = _timer(context, schedule, slot_cache) if schedule.enabled else None
        except UnplannableError as error:
            result.refused[schedule.id] = str(error)
            continue
        if key not in existing:
            result.refused[schedule.id] = INSTALL_GONE
            continue
        result.adopted[key].append(schedule.id)
        if schedule.driven_by_other:
            result.handles[schedule.id] = schedule.handle
        if schedule.timed and schedule.driven_by_other:
            stale.append((schedule.tenant_id, schedule.id))
        if timer is not None and (schedule.driven_by_other or not schedule.timed):
            new_timers.append(timer)
    owned = [(key[0], id_) for key, ids in result.adopted.items() for id_ in ids]
    await consistency.claim_ownership(connection, owned, from_others=from_others)
    await timers.remove(connection, stale)
    await timers.add(connection, new_timers)
    return result


def _timer(context: AdminContext, schedule: UnmanagedSchedule, slot_cache: SlotCache) -> Timer:
    cron, timezone = schedule.cron or "", schedule.timezone or "UTC"
    due_at = slot_cache.start_after(schedule.id, cron, timezone, context.now)
    return Timer(schedule.tenant_id, schedule.id, schedule.install_id, cron, timezone, due_at)


async def _missing(
    context: AdminContext, tenant_id: str | None, named: Collection[UUID] | None
) -> dict[UUID, str]:
    """Return the named schedules that do not exist, each with the reason to report."""
    if not named:
        return {}
    known = await adoption.owners(context.call.connection, tenant_id, sorted(named))
    return dict.fromkeys(sorted(set(named) - known.keys()), NOT_FOUND)


async def _names_to_remove(
    context: AdminContext,
    schema: str,
    tenant_id: str | None,
    install_id: UUID | None,
    result: AdoptionResult,
    only: Collection[UUID] | None,
) -> list[str]:
    """Return the names to remove from pg-boss: those in scope whose schedule was not refused.

    Names of missing schedules would fire for nothing: a platform operator removes those too.
    """
    handles = {
        handle.runner_schedule_id
        for handle in result.handles.values()
        if handle.runner_schedule_id is not None
    }
    names = await pg_boss.lock_names(context.call.connection, schema, sorted(handles))
    parsed = {name: match.groups() for name in names if (match := _NAME.fullmatch(name))}
    owners = await adoption.owners(
        context.call.connection, tenant_id, [UUID(schedule) for _, schedule in parsed.values()]
    )
    includes_missing = tenant_id is None and install_id is None and only is None
    names_to_remove = [name for name in names if name in handles and name not in parsed]
    for name, (_, schedule) in parsed.items():
        owner = owners.get(UUID(schedule))
        if owner is None:
            chosen = includes_missing
        else:
            chosen = install_id in {None, owner[1]} and UUID(schedule) not in result.refused
            chosen = chosen and (only is None or UUID(schedule) in only)
        if chosen:
            names_to_remove.append(name)
    return names_to_remove


def _entries(
    tenant_id: str | None,
    request: contract.AdoptInput,
    result: AdoptionResult,
    removed: list[str],
) -> list[AuditChange]:
    by = request.handles_removed_by
    how = {} if by is None else {"handlesRemovedBy": by}
    entries = [
        make_entry(
            owner,
            {
                **how,
                "adopted": ids,
                "handles": [
                    foreign_handle(result.handles[id_]) for id_ in ids if id_ in result.handles
                ],
            },
            install_id,
        )
        for (owner, install_id), ids in result.adopted.items()
    ]
    if removed or not entries:
        entries.append(make_entry(tenant_id or ALL_TENANTS, {"pgBossRemoved": removed}))
    return entries
