"""``adopt``: take over the schedules that another job runner drove."""

import re
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from contracts import admin_installs as contract
from contracts.admin_installs import Problem
from contracts.context import ALL_TENANTS
from service.operations.admin.transaction import Ground, Made, entry, within
from service.operations.context import Answer, field_refusal
from service.rules.planning import SlotCache, UnplannableError
from service.storage import consistency
from service.storage.records.admin_change import Entry
from service.storage.schedules import adoption, pg_boss, timers
from service.storage.schedules.adoption import Key, Stranger
from service.storage.schedules.timers import Timer

NO_SCHEDULES = "No pg-boss schedules in this schema"
INSTALL_GONE = "Its install is gone"

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_NAME = re.compile(f"extsched:({_UUID}):({_UUID})")


class Taken(Struct, frozen=True):
    """Schedules that are this service's now, (tenant, install) → ids, and those that cannot be."""

    adopted: dict[Key, list[UUID]]
    refused: dict[UUID, str]

    @property
    def count(self) -> int:
        """How many were adopted."""
        return sum(len(ids) for ids in self.adopted.values())


async def adopt(ground: Ground, asked: contract.AdoptInput) -> Made | Answer:
    """Give every enabled schedule a timer, from now, and take it out of pg-boss."""
    connection, schema = ground.call.connection, asked.pg_boss_schema
    tenant_id = within(ground.call, asked.tenant_id)
    install_id = None if asked.install_id is None else UUID(asked.install_id)
    if schema is not None and not await pg_boss.has_schedules(connection, schema):
        return field_refusal({"pgBossSchema": NO_SCHEDULES})
    found = await adoption.installs_with_strangers(connection, tenant_id, install_id)
    taken = await take_over(ground, found)
    removed: list[str] = []
    rows = 0
    if schema is not None:
        removed = await _driven_here(ground, schema, tenant_id, install_id, taken)
        rows = await pg_boss.remove(connection, schema, removed)
    answer = contract.AdoptOutput(
        success=True,
        adopted=taken.count,
        pg_boss_removed=rows,
        problems=[Problem(subject=str(id_), message=why) for id_, why in taken.refused.items()],
    )
    if asked.dry_run or not (taken.count or rows):
        return answer
    return Made(answer=answer, entries=_entries(tenant_id, taken, removed))


async def take_over(ground: Ground, installs: Sequence[Key]) -> Taken:
    """Give the enabled schedules of these installs timers, where they have none, and mark them."""
    connection, slot_cache = ground.call.connection, SlotCache()
    there = await adoption.lock_installs(connection, installs)
    taken, made = Taken(defaultdict(list), {}), list[Timer]()
    for stranger in await adoption.strangers(connection, installs):
        key = (stranger.tenant_id, stranger.install_id)
        try:
            timer = _timer(ground, stranger, slot_cache)
        except UnplannableError as error:
            taken.refused[stranger.id] = str(error)
            continue
        if key not in there:
            taken.refused[stranger.id] = INSTALL_GONE
            continue
        taken.adopted[key].append(stranger.id)
        if not stranger.timed:
            made.append(timer)
    owned = [(key[0], id_) for key, ids in taken.adopted.items() for id_ in ids]
    await consistency.claim_ownership(connection, owned)
    await timers.add(connection, made)
    return taken


def _timer(ground: Ground, stranger: Stranger, slot_cache: SlotCache) -> Timer:
    cron, timezone = stranger.cron or "", stranger.timezone or "UTC"
    due_at = slot_cache.following(cron, timezone, ground.now)
    return Timer(stranger.tenant_id, stranger.id, stranger.install_id, cron, timezone, due_at)


async def _driven_here(
    ground: Ground, schema: str, tenant_id: str | None, install_id: UUID | None, taken: Taken
) -> list[str]:
    """The names in pg-boss that are to go: within the scope, and not left to it for a reason.

    Names of schedules that are gone would fire for nothing: a platform operator removes those too.
    """
    names = await pg_boss.lock_names(ground.call.connection, schema)
    parsed = {name: match.groups() for name in names if (match := _NAME.fullmatch(name))}
    owners = await adoption.owners(
        ground.call.connection, tenant_id, [UUID(schedule) for _, schedule in parsed.values()]
    )
    gone_too = tenant_id is None and install_id is None
    chosen = []
    for name, (_, schedule) in parsed.items():
        owner = owners.get(UUID(schedule))
        if owner is None:
            wanted = gone_too
        else:
            wanted = install_id in {None, owner[1]} and UUID(schedule) not in taken.refused
        if wanted:
            chosen.append(name)
    return chosen


def _entries(tenant_id: str | None, taken: Taken, removed: list[str]) -> list[Entry]:
    entries = [
        entry(owner, {"adopted": ids}, install_id)
        for (owner, install_id), ids in taken.adopted.items()
    ]
    if removed or not entries:
        entries.append(entry(tenant_id or ALL_TENANTS, {"pgBossRemoved": removed}))
    return entries
