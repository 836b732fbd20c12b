"""``reconcile``: find what does not fit together, and repair it."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from contracts import admin_installs as contract
from contracts.admin_installs import Damage, DamageKind
from contracts.context import ALL_TENANTS
from contracts.events import EventType
from service.operations.admin_adopt import take_over
from service.operations.admin_frame import Ground, Made, entry, told, within
from service.operations.call import Answer
from service.storage import adoption, damage, occurrences, queue, reconcile, removal, timers
from service.storage.admin_records import Told
from service.storage.damage import Place

MOST = 10_000
EXAMPLES = 10
LOOK_BACK = timedelta(days=30)
ENDPOINT_GONE = "Disabled because its endpoint is gone"


class Search(Struct, frozen=True):
    """Where to look, and what is to be told of what was repaired."""

    ground: Ground
    tenant_id: str | None
    dry_run: bool
    events: list[Told]


Finding: TypeAlias = tuple[Sequence[object], int]
"""What was found, and how much of it was repaired."""


async def run(ground: Ground, asked: contract.ReconcileInput) -> Made | Answer:
    """Look for every kind of damage, in an order in which no repair makes more of it."""
    tenant_id = within(ground.call, asked.tenant_id)
    search = Search(ground, tenant_id, asked.dry_run, [])
    found = [await _look(kind, look, search) for kind, look in _KINDS.items()]
    answer = contract.ReconcileOutput(success=True, damage=[each for each in found if each.found])
    if asked.dry_run or not any(each.repaired for each in found):
        return answer
    changes = {str(each.kind): each.repaired for each in found if each.repaired}
    entries = [entry(tenant_id or ALL_TENANTS, changes)]
    return Made(answer=answer, entries=entries, events=search.events)


async def _look(
    kind: DamageKind, look: Callable[[Search], Awaitable[Finding]], search: Search
) -> Damage:
    found, repaired = await look(search)
    examples = [str(each) for each in found[:EXAMPLES]]
    return Damage(kind=kind, found=len(found), repaired=repaired, examples=examples)


async def _schedules_without_install(search: Search) -> Finding:
    connection = search.ground.call.connection
    found = await damage.without_install(connection, search.tenant_id, MOST)
    ids = [place.schedule_id for place in found]
    if search.dry_run:
        return ids, 0
    strays: dict[str, set[UUID]] = defaultdict(set)
    for place in found:
        strays[place.tenant_id].add(place.install_id)
    repaired = 0
    for tenant_id, installs in sorted(strays.items()):
        removed = await removal.remove(connection, tenant_id, sorted(installs))
        repaired += removed.schedules
    return ids, repaired


async def _schedules_without_endpoint(search: Search) -> Finding:
    ground, connection = search.ground, search.ground.call.connection
    found = await damage.without_endpoint(connection, search.tenant_id, MOST)
    ids = [place.schedule_id for place in found]
    if search.dry_run or not found:
        return ids, 0
    await _lock_installs(search, found)
    done = await damage.disable(connection, found, ENDPOINT_GONE, ground.now)
    await timers.remove(connection, [(place.tenant_id, place.schedule_id) for place in done])
    data = {"error": ENDPOINT_GONE}
    search.events.extend(
        told(EventType.SCHEDULE_DISABLED, each.tenant_id, each.install_id, data, each.schedule_id)
        for each in done
    )
    return ids, len(done)


async def _schedules_without_timer(search: Search) -> Finding:
    connection = search.ground.call.connection
    rows = await reconcile.without_timer(connection, UUID(int=0), MOST, search.tenant_id)
    ids = [row.schedule_id for row in rows]
    if search.dry_run or not rows:
        return ids, 0
    installs = sorted({(row.tenant_id, row.install_id) for row in rows})
    taken = await take_over(search.ground, installs)
    adopted = {id_ for owned in taken.adopted.values() for id_ in owned}
    return ids, len(adopted.intersection(ids))


async def _timers_without_schedule(search: Search) -> Finding:
    connection = search.ground.call.connection
    found = await damage.timers_without_schedule(connection, search.tenant_id, MOST)
    ids = [place.schedule_id for place in found]
    if search.dry_run or not found:
        return ids, 0
    # Again under the locks: one of them may have been enabled while we waited.
    await _lock_installs(search, found)
    found = await damage.timers_without_schedule(connection, search.tenant_id, MOST)
    await timers.remove(connection, [(place.tenant_id, place.schedule_id) for place in found])
    return ids, len(found)


async def _jobs_without_run(search: Search) -> Finding:
    connection = search.ground.call.connection
    found = await damage.jobs_without_run(connection, search.tenant_id, MOST)
    return found, 0 if search.dry_run else await damage.remove_jobs(connection, found)


async def _runs_without_job(search: Search) -> Finding:
    ground, connection = search.ground, search.ground.call.connection
    found = await reconcile.without_job(
        connection, ground.now - LOOK_BACK, ground.now, MOST, search.tenant_id
    )
    ids = [each.id for each in found]
    if search.dry_run:
        return ids, 0
    jobs = [occurrences.job(each, each.id) for each in found]
    return ids, await queue.enqueue(connection, jobs)


async def _lock_installs(search: Search, found: Sequence[Place]) -> None:
    keys = sorted({(place.tenant_id, place.install_id) for place in found})
    await adoption.lock_installs(search.ground.call.connection, keys)


_KINDS: dict[DamageKind, Callable[[Search], Awaitable[Finding]]] = {
    "schedule_without_install": _schedules_without_install,
    "schedule_without_endpoint": _schedules_without_endpoint,
    "schedule_without_timer": _schedules_without_timer,
    "timer_without_schedule": _timers_without_schedule,
    "job_without_run": _jobs_without_run,
    "run_without_job": _runs_without_job,
}
