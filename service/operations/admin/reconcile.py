"""``reconcile``: find what does not fit together, and repair it."""

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
from service.operations.admin.adopt import take_over
from service.operations.admin.transaction import Ground, Made, entry, make_event, within
from service.operations.context import Answer
from service.storage import consistency, removal
from service.storage.records.outbox import OutboxEvent
from service.storage.runs import occurrences, queue
from service.storage.schedules import adoption, timers
from service.storage.schedules.disabling import ScheduleRef, disable

MOST = 10_000
EXAMPLES = 10
LOOK_BACK = timedelta(days=30)
ENDPOINT_GONE = "Disabled because its endpoint is gone"


class Search(Struct, frozen=True):
    """Where to look, and what is to be told of what was repaired."""

    ground: Ground
    tenant_id: str | None
    dry_run: bool
    events: list[OutboxEvent]


Finding: TypeAlias = tuple[Sequence[object], Mapping[str, int]]
"""What was found, and how much of it was repaired of each tenant."""


async def run(ground: Ground, asked: contract.ReconcileInput) -> Made | Answer:
    """Look for every kind of inconsistency, in an order in which no repair causes another."""
    tenant_id = within(ground.call, asked.tenant_id)
    search = Search(ground, tenant_id, asked.dry_run, [])
    findings = {kind: await look(search) for kind, look in _KINDS.items()}
    told = [_inconsistency(kind, *finding) for kind, finding in findings.items()]
    answer = contract.ReconcileOutput(
        success=True, inconsistencies=[each for each in told if each.found]
    )
    changes: dict[str, dict[str, int]] = defaultdict(dict)
    for kind, (_, repaired) in findings.items():
        for owner in (owner for owner, count in repaired.items() if count):
            changes[owner][kind] = repaired[owner]
    if asked.dry_run or not changes:
        return answer
    entries = [entry(owner, changes[owner]) for owner in sorted(changes)]
    return Made(answer=answer, entries=entries, events=search.events)


def _inconsistency(
    kind: InconsistencyKind, found: Sequence[object], repaired: Mapping[str, int]
) -> Inconsistency:
    examples = [str(each) for each in found[:EXAMPLES]]
    return Inconsistency(
        kind=kind, found=len(found), repaired=sum(repaired.values()), examples=examples
    )


async def _schedules_without_install(search: Search) -> Finding:
    connection = search.ground.call.connection
    found = await consistency.schedules_without_install(connection, search.tenant_id, MOST)
    ids = [place.schedule_id for place in found]
    if search.dry_run:
        return ids, {}
    strays: dict[str, set[UUID]] = defaultdict(set)
    for place in found:
        strays[place.tenant_id].add(place.install_id)
    repaired: Counter[str] = Counter()
    for tenant_id, installs in sorted(strays.items()):
        removed = await removal.remove(connection, tenant_id, sorted(installs))
        repaired[tenant_id] += removed.schedules
    return ids, repaired


async def _schedules_without_endpoint(search: Search) -> Finding:
    ground, connection = search.ground, search.ground.call.connection
    found = await consistency.schedules_without_endpoint(connection, search.tenant_id, MOST)
    ids = [place.schedule_id for place in found]
    if search.dry_run or not found:
        return ids, {}
    await _lock_installs(search, found)
    errors = {(place.tenant_id, place.schedule_id): ENDPOINT_GONE for place in found}
    done = await disable(connection, errors, ground.now, only_without_endpoint=True)
    data = {"error": ENDPOINT_GONE}
    search.events.extend(
        make_event(
            EventType.SCHEDULE_DISABLED, each.tenant_id, each.install_id, data, each.schedule_id
        )
        for each in done
    )
    return ids, _by_tenant(done)


async def _schedules_without_timer(search: Search) -> Finding:
    connection = search.ground.call.connection
    rows = await consistency.schedules_without_timer(
        connection, UUID(int=0), MOST, search.tenant_id
    )
    ids = [row.schedule_id for row in rows]
    if search.dry_run or not rows:
        return ids, {}
    installs = sorted({(row.tenant_id, row.install_id) for row in rows})
    taken = await take_over(search.ground, installs)
    adopted = {id_ for owned in taken.adopted.values() for id_ in owned}
    return ids, Counter(row.tenant_id for row in rows if row.schedule_id in adopted)


async def _timers_without_schedule(search: Search) -> Finding:
    connection = search.ground.call.connection
    found = await consistency.timers_without_schedule(connection, search.tenant_id, MOST)
    ids = [place.schedule_id for place in found]
    if search.dry_run or not found:
        return ids, {}
    # Again under the locks: one of them may have been enabled while we waited.
    await _lock_installs(search, found)
    found = await consistency.timers_without_schedule(connection, search.tenant_id, MOST)
    await timers.remove(connection, [(place.tenant_id, place.schedule_id) for place in found])
    return ids, _by_tenant(found)


async def _jobs_without_run(search: Search) -> Finding:
    connection = search.ground.call.connection
    found = await consistency.jobs_without_run(connection, search.tenant_id, MOST)
    if search.dry_run or not found:
        return found, {}
    # Whose they were is in nobody's books any more.
    return found, {
        search.tenant_id or ALL_TENANTS: await consistency.remove_jobs(connection, found)
    }


async def _runs_without_job(search: Search) -> Finding:
    ground, connection = search.ground, search.ground.call.connection
    found = await consistency.runs_without_job(
        connection, ground.now - LOOK_BACK, ground.now, MOST, search.tenant_id
    )
    ids = [each.id for each in found]
    if search.dry_run:
        return ids, {}
    jobs: dict[str, list[queue.NewJob]] = defaultdict(list)
    for each in found:
        jobs[each.tenant_id].append(occurrences.job(each, each.id))
    return ids, {owner: await queue.enqueue(connection, own) for owner, own in jobs.items()}


def _by_tenant(places: Sequence[ScheduleRef]) -> Mapping[str, int]:
    return Counter(place.tenant_id for place in places)


async def _lock_installs(search: Search, found: Sequence[ScheduleRef]) -> None:
    keys = sorted({(place.tenant_id, place.install_id) for place in found})
    await adoption.lock_installs(search.ground.call.connection, keys)


_KINDS: dict[InconsistencyKind, Callable[[Search], Awaitable[Finding]]] = {
    "schedule_without_install": _schedules_without_install,
    "schedule_without_endpoint": _schedules_without_endpoint,
    "schedule_without_timer": _schedules_without_timer,
    "timer_without_schedule": _timers_without_schedule,
    "job_without_run": _jobs_without_run,
    "run_without_job": _runs_without_job,
}
