"""Timers that do not follow from their schedules any more: found, and computed again.

A timer is derived from its schedule, and never trusted against it: another program may have changed
the expression, and a clock that was ahead leaves timers beyond slots that are still to come. Due
timers are left to the planner, which accounts for their slots.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import structs

from service.rules.planning import SlotCache, UnplannableError
from service.storage.engine.connection import Connection
from service.storage.schedules import firing_state, timers
from service.storage.schedules.ownership import DRIVEN_BY_OTHER
from service.storage.schedules.timers import Timer

_COLUMNS = "t.tenant_id, t.schedule_id, t.install_id, t.cron, t.timezone, t.due_at, t.missed"
_SCOPE = "($1::text IS NULL OR t.tenant_id = $1) AND ($2::uuid IS NULL OR t.install_id = $2)"

OF_ANOTHER_EXPRESSION = f"""
SELECT {_COLUMNS} FROM ext_scheduler.timers t
JOIN tenant_extension_schedule s
  ON s.tenant_id = t.tenant_id AND s.id = t.schedule_id AND s.enabled
    AND NOT {DRIVEN_BY_OTHER}
WHERE {_SCOPE} AND t.due_at > $3::timestamptz
  AND (t.cron <> coalesce(s.cron, '')
    OR t.timezone <> coalesce(nullif(s.timezone, ''), 'UTC'))
ORDER BY t.schedule_id
LIMIT $4::integer
"""

LATEST = f"""
SELECT t.cron, t.timezone, max(t.due_at) AS latest FROM ext_scheduler.timers t
WHERE {_SCOPE} AND t.due_at > $3::timestamptz
GROUP BY t.cron, t.timezone
"""

BEYOND = f"""
SELECT {_COLUMNS} FROM ext_scheduler.timers t
JOIN unnest($3::text[], $4::text[], $5::timestamptz[]) AS w (cron, timezone, latest)
  ON w.cron = t.cron AND w.timezone = t.timezone AND t.due_at > w.latest
WHERE {_SCOPE}
ORDER BY t.schedule_id
LIMIT $6::integer
"""

TAKE = f"""
SELECT {_COLUMNS} FROM ext_scheduler.timers t
JOIN unnest($1::text[], $2::uuid[]) AS w (tenant_id, schedule_id)
  ON t.tenant_id = w.tenant_id AND t.schedule_id = w.schedule_id
WHERE t.due_at > $3::timestamptz
FOR UPDATE OF t SKIP LOCKED
"""


SLICE = 200


async def find(
    connection: Connection,
    now: datetime,
    slot_cache: SlotCache,
    limit: int,
    tenant_id: str | None = None,
    install_id: UUID | None = None,
) -> list[Timer]:
    """Return stale timers, of one tenant or install or of all, without locking them."""
    scope = (tenant_id, install_id)
    rows = await connection.fetch(OF_ANOTHER_EXPRESSION, *scope, now, limit)
    stale = {timer.key: timer for timer in (Timer(*row) for row in rows)}
    ahead = []
    for count, row in enumerate(await connection.fetch(LATEST, *scope, now)):
        if count % SLICE == 0:
            await asyncio.sleep(0)  # there may be as many expressions as schedules
        start = _latest_start(row, now, slot_cache)
        if start is not None and start < row["latest"]:
            ahead.append((row["cron"], row["timezone"], start))
    if ahead:
        crons, zones, starts = map(list, zip(*ahead, strict=True))
        rows = await connection.fetch(BEYOND, *scope, crons, zones, starts, limit)
        stale.update((timer.key, timer) for timer in (Timer(*row) for row in rows))
    return list(stale.values())[:limit]


async def repair(
    connection: Connection, stale: Sequence[Timer], now: datetime, slot_cache: SlotCache
) -> list[Timer]:
    """Compute these timers again, from now; return the changed ones. Call it in a transaction.

    Timers that another session has locked stay, as do those that are in order by now. A schedule
    that cannot be planned keeps its timer: the planner reports it when it is due.
    """
    if not stale:
        return []
    keys = [timer.key for timer in stale]
    rows = await connection.fetch(TAKE, [key[0] for key in keys], [key[1] for key in keys], now)
    taken = [Timer(*row) for row in rows]
    states = await firing_state.read(connection, [timer.key for timer in taken])
    changed = []
    for timer in taken:
        state = states.get(timer.key)
        if state is None:
            continue
        cron, timezone = state.cron or "", state.timezone or "UTC"
        try:
            due_at = slot_cache.start_after(timer.schedule_id, cron, timezone, now)
        except UnplannableError:
            continue
        if (timer.cron, timer.timezone) != (cron, timezone) or timer.due_at > due_at:
            changed.append(structs.replace(timer, cron=cron, timezone=timezone, due_at=due_at))
    await timers.move(connection, changed)
    return changed


def _latest_start(row: asyncpg.Record, now: datetime, slot_cache: SlotCache) -> datetime | None:
    try:
        return slot_cache.latest_start(row["cron"], row["timezone"], now)
    except UnplannableError:
        return None
