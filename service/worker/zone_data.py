"""Timers follow the release of the time zone data."""

from datetime import datetime, timedelta
from logging import getLogger
from uuid import UUID

from msgspec import structs

from service.rules import zones
from service.rules.planning import SlotCache, UnplannableError
from service.runtime.logs import fields
from service.storage import consistency
from service.storage.engine.connection import Connection
from service.storage.schedules import timers
from service.storage.schedules.timers import Timer

log = getLogger(__name__)

TZDATA_KEY = "tzdata"
NO_ID = UUID(int=0)


async def follow_zone_data(
    connection: Connection,
    now: datetime,
    release: str | None = None,
    batch: int = 1000,
    spread: timedelta = timedelta(0),
) -> int:
    """Recompute all future timers when the release of the time zone data has changed.

    Timers whose slots have come already are left to the planner, which accounts for them. Returns
    how many were read.
    """
    release = release or zones.release()
    if await consistency.metadata_value(connection, TZDATA_KEY) == release:
        return 0
    slot_cache, after, total = SlotCache(spread=spread), ("", NO_ID), 0
    while True:
        async with connection.transaction():
            future = await timers.take_future(connection, after, now, batch)
            await timers.move(connection, [_recomputed(timer, now, slot_cache) for timer in future])
        total += len(future)
        if len(future) < batch:
            break
        after = future[-1].key
    await consistency.set_metadata_value(connection, TZDATA_KEY, release)
    log.info("timers recomputed", extra=fields(zone_data=release, timers=total))
    return total


def _recomputed(timer: Timer, now: datetime, slot_cache: SlotCache) -> Timer:
    pair = (timer.schedule_id, timer.cron, timer.timezone)
    try:
        if slot_cache.is_waiting(*pair, timer.due_at, now):
            return timer
        due_at = slot_cache.start_after(*pair, now)
    except UnplannableError:
        return timer  # the planner reports it when it is due
    return structs.replace(timer, due_at=due_at)
