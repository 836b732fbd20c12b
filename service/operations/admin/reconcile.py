"""``reconcile``: find inconsistencies, and repair them."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from contracts import admin_installs as contract
from contracts.admin_installs import Inconsistency, InconsistencyKind
from contracts.context import ALL_TENANTS
from contracts.events import EventType
from service.operations.admin.adopt import adopt_installs
from service.operations.admin.transaction import (
    AdminContext,
    AppliedAdminChange,
    make_entry,
    make_event,
    resolve_tenant,
)
from service.operations.context import Answer
from service.rules.planning import SlotCache
from service.storage import consistency, removal
from service.storage.records.outbox import OutboxEvent
from service.storage.runs import occurrences, queue
from service.storage.schedules import adoption, stale_timers, timer_sums, timers
from service.storage.schedules.disabling import ScheduleRef, disable

MAX_PER_KIND = 10_000
MAX_EXAMPLES = 10
LOOK_BACK = timedelta(days=30)
ENDPOINT_GONE = "Disabled because its endpoint is gone"


class Search(Struct, frozen=True):
    """The scope of a reconciliation; ``events`` collects those of its repairs."""

    context: AdminContext
    tenant_id: str | None
    dry_run: bool
    events: list[OutboxEvent]


Inspection: TypeAlias = tuple[Sequence[object], Mapping[str, int]]
"""The ids of the inconsistent rows, and the number of repaired ones by tenant."""


async def run(
    context: AdminContext, request: contract.ReconcileInput
) -> AppliedAdminChange | Answer:
    """Inspect every kind of inconsistency, in an order in which no repair causes another."""
    tenant_id = resolve_tenant(context.call, request.tenant_id)
    search = Search(context, tenant_id, request.dry_run, [])
    inspections = {kind: await inspect(search) for kind, inspect in _KINDS.items()}
    inconsistencies = [
        _inconsistency(kind, *inspection) for kind, inspection in inspections.items()
    ]
    answer = contract.ReconcileOutput(
        success=True,
        inconsistencies=[inconsistency for inconsistency in inconsistencies if inconsistency.found],
    )
    changes: dict[str, dict[str, int]] = defaultdict(dict)
    for kind, (_, repaired) in inspections.items():
        for owner in (owner for owner, count in repaired.items() if count):
            changes[owner][kind] = repaired[owner]
    if request.dry_run or not changes:
        return answer
    entries = [make_entry(owner, changes[owner]) for owner in sorted(changes)]
    return AppliedAdminChange(answer=answer, entries=entries, events=search.events)


def _inconsistency(
    kind: InconsistencyKind, ids: Sequence[object], repaired: Mapping[str, int]
) -> Inconsistency:
    examples = [str(id_) for id_ in ids[:MAX_EXAMPLES]]
    return Inconsistency(
        kind=kind, found=len(ids), repaired=sum(repaired.values()), examples=examples
    )


async def _schedules_without_install(search: Search) -> Inspection:
    connection = search.context.call.connection
    refs = await consistency.schedules_without_install(connection, search.tenant_id, MAX_PER_KIND)
    ids = [ref.schedule_id for ref in refs]
    if search.dry_run:
        return ids, {}
    orphaned: dict[str, set[UUID]] = defaultdict(set)
    for ref in refs:
        orphaned[ref.tenant_id].add(ref.install_id)
    repaired: Counter[str] = Counter()
    for tenant_id, installs in sorted(orphaned.items()):
        removed = await removal.remove(connection, tenant_id, sorted(installs))
        repaired[tenant_id] += removed.schedules
    return ids, repaired


async def _schedules_without_endpoint(search: Search) -> Inspection:
    context, connection = search.context, search.context.call.connection
    refs = await consistency.schedules_without_endpoint(connection, search.tenant_id, MAX_PER_KIND)
    ids = [ref.schedule_id for ref in refs]
    if search.dry_run or not refs:
        return ids, {}
    await _lock_installs(search, refs)
    errors = {(ref.tenant_id, ref.schedule_id): ENDPOINT_GONE for ref in refs}
    disabled = await disable(connection, errors, context.now, only_without_endpoint=True)
    data = {"error": ENDPOINT_GONE}
    search.events.extend(
        make_event(
            EventType.SCHEDULE_DISABLED, ref.tenant_id, ref.install_id, data, ref.schedule_id
        )
        for ref in disabled
    )
    return ids, _by_tenant(disabled)


async def _schedules_without_timer(search: Search) -> Inspection:
    connection = search.context.call.connection
    rows = [
        row
        for tenant_id in await _tenants(search)
        for row in await consistency.schedules_without_timer(
            connection, UUID(int=0), MAX_PER_KIND, tenant_id
        )
    ][:MAX_PER_KIND]
    ids = [row.schedule_id for row in rows]
    if search.dry_run or not rows:
        return ids, {}
    installs = sorted({(row.tenant_id, row.install_id) for row in rows})
    result = await adopt_installs(search.context, installs)
    adopted = {id_ for owned in result.adopted.values() for id_ in owned}
    return ids, Counter(row.tenant_id for row in rows if row.schedule_id in adopted)


async def _timers_without_schedule(search: Search) -> Inspection:
    connection = search.context.call.connection
    refs = await _orphaned_timers(search)
    ids = [ref.schedule_id for ref in refs]
    if search.dry_run or not refs:
        return ids, {}
    # Once more under the locks: one may have been enabled in between.
    await _lock_installs(search, refs)
    refs = await _orphaned_timers(search)
    await timers.remove(connection, [(ref.tenant_id, ref.schedule_id) for ref in refs])
    return ids, _by_tenant(refs)


async def _orphaned_timers(search: Search) -> list[ScheduleRef]:
    return [
        ref
        for tenant_id in await _tenants(search)
        for ref in await consistency.timers_without_schedule(
            search.context.call.connection, tenant_id, MAX_PER_KIND
        )
    ][:MAX_PER_KIND]


async def _tenants(search: Search) -> Sequence[str | None]:
    """Return the tenants whose timers are to be compared with their schedules; None for all."""
    call = search.context.call
    if search.tenant_id is None and call.policy.sharded:
        return await timer_sums.differing_tenants(call.connection)
    return [search.tenant_id]


async def _stale_timers(search: Search) -> Inspection:
    context, connection = search.context, search.context.call.connection
    slot_cache = SlotCache(spread=context.call.policy.spread)
    stale = await stale_timers.find(
        connection, context.now, slot_cache, MAX_PER_KIND, search.tenant_id
    )
    ids = [timer.schedule_id for timer in stale]
    if search.dry_run:
        return ids, {}
    changed = await stale_timers.repair(connection, stale, context.now, slot_cache)
    return ids, Counter(timer.tenant_id for timer in changed)


async def _jobs_without_run(search: Search) -> Inspection:
    connection = search.context.call.connection
    job_ids = await consistency.jobs_without_run(connection, search.tenant_id, MAX_PER_KIND)
    if search.dry_run or not job_ids:
        return job_ids, {}
    # Jobs are counted for the scope: without a run, no record says whose they were.
    return job_ids, {
        search.tenant_id or ALL_TENANTS: await consistency.remove_jobs(connection, job_ids)
    }


async def _runs_without_job(search: Search) -> Inspection:
    context, connection = search.context, search.context.call.connection
    orphans = await consistency.runs_without_job(
        connection, context.now - LOOK_BACK, context.now, MAX_PER_KIND, search.tenant_id
    )
    ids = [occurrence.id for occurrence in orphans]
    if search.dry_run:
        return ids, {}
    jobs: dict[str, list[queue.NewJob]] = defaultdict(list)
    for orphan in orphans:
        jobs[orphan.tenant_id].append(occurrences.job(orphan, orphan.id))
    return ids, {
        owner: len(await queue.enqueue(connection, new_jobs)) for owner, new_jobs in jobs.items()
    }


def _by_tenant(refs: Sequence[ScheduleRef]) -> Mapping[str, int]:
    return Counter(ref.tenant_id for ref in refs)


async def _lock_installs(search: Search, refs: Sequence[ScheduleRef]) -> None:
    keys = sorted({(ref.tenant_id, ref.install_id) for ref in refs})
    await adoption.lock_installs(search.context.call.connection, keys)


_KINDS: dict[InconsistencyKind, Callable[[Search], Awaitable[Inspection]]] = {
    "schedule_without_install": _schedules_without_install,
    "schedule_without_endpoint": _schedules_without_endpoint,
    "schedule_without_timer": _schedules_without_timer,
    "timer_without_schedule": _timers_without_schedule,
    "stale_timer": _stale_timers,
    "job_without_run": _jobs_without_run,
    "run_without_job": _runs_without_job,
}
