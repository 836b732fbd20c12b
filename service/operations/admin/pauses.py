"""The pauses of a tenant, as the history and the view of one schedule show them."""

from datetime import datetime
from uuid import UUID

from contracts.admin_reads import TenantPause
from contracts.admin_schedules import PausedPeriod
from contracts.times import wire_time
from service.operations.context import Call
from service.rules.planning import UnplannableError, read
from service.rules.slots import count_between
from service.storage.engine import clock
from service.storage.platform import tenants
from service.storage.schedules import admin_search, explanation
from service.storage.schedules.explanation import Entry
from service.storage.schedules.rows import Schedule


async def current_pause(call: Call, tenant_id: str) -> TenantPause | None:
    """Return since when, by whom and why a tenant is paused; None where it is not."""
    pause = (await tenants.pauses_of(call.connection, [tenant_id])).get(tenant_id)
    if pause is None:
        return None
    return TenantPause(since=wire_time(pause.paused_at), by=pause.paused_by, reason=pause.reason)


async def pauses_between(
    call: Call, tenant_id: str, schedule_id: UUID, since: datetime, until: datetime
) -> list[PausedPeriod]:
    """Return the pauses that a schedule saw between two instants, newest first."""
    owned = await admin_search.one(call.connection, tenant_id, schedule_id)
    if owned is None:
        return []
    now = call.policy.clock(await clock.read(call.connection))
    until, since = min(until, now), max(since, owned.schedule.created_at)
    periods, end = list[PausedPeriod](), None
    for entry in await explanation.latest_pauses(call.connection, tenant_id, now):
        if not entry.changes.get("paused"):
            end = entry.at
            continue
        if entry.at <= until and (end is None or end >= since):
            periods.append(_period(owned.schedule, entry, end, now))
        end = entry.at
    return periods


def _period(schedule: Schedule, entry: Entry, end: datetime | None, now: datetime) -> PausedPeriod:
    reason = entry.changes.get("reason")
    return PausedPeriod(
        since=wire_time(entry.at),
        until=None if end is None else wire_time(end),
        by=entry.actor,
        reason=reason if isinstance(reason, str) else None,
        slots=_slots(schedule, max(entry.at, schedule.created_at), end or now),
    )


def _slots(schedule: Schedule, since: datetime, until: datetime) -> int:
    if not schedule.enabled or until <= since:
        return 0
    try:
        cron, zone = read(schedule.cron, schedule.timezone)
    except UnplannableError:
        return 0
    return count_between(cron, zone, since, until)
