"""Coming slots as people read them: in UTC, on the wall clock, with every clock change marked."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from service.rules.cron import Cron
from service.rules.offsets import EPOCH, MINUTE, offset_period_at
from service.rules.slots import next_slots


class SlotPreview(Struct, frozen=True):
    """One slot: the instant in UTC, the same on the wall clock with its offset, and a remark.

    ``remark`` is set where the zone's clock changed since the slot before (or the beginning).
    """

    utc: datetime
    local: datetime
    remark: str | None


def preview(cron: Cron, zone: ZoneInfo, after: datetime, count: int) -> list[SlotPreview]:
    """Return the first ``count`` slots strictly after an instant."""
    shown = []
    earlier = after
    for slot in next_slots(cron, zone, after, count):
        local = slot.astimezone(zone)
        shown.append(SlotPreview(slot, local, _remark(cron, zone, earlier, slot, local)))
        earlier = slot
    return shown


def _remark(
    cron: Cron, zone: ZoneInfo, earlier: datetime, slot: datetime, local: datetime
) -> str | None:
    minute = (slot - EPOCH) // MINUTE
    period = offset_period_at(zone, minute)
    if cron.fixed and _occurs_again(zone, minute, period.end, period.offset):
        return "this wall time occurs twice: it fires the first time only"
    if period.before == period.offset or period.start <= (earlier - EPOCH) // MINUTE:
        return None
    moved = timedelta(minutes=abs(period.offset - period.before))
    at = (EPOCH + period.start * MINUTE).astimezone(zone)
    direction = "forward" if period.offset > period.before else "back"
    text = f"clock goes {direction} by {_hours(moved)} to {at:%H:%M} on {at:%Y-%m-%d}"
    wall = local.hour * 60 + local.minute
    if cron.fixed and minute == period.start and wall not in cron.times:
        return f"{text}: its wall time is skipped, so it fires at once"
    return text


def _occurs_again(zone: ZoneInfo, minute: int, end: int, offset: int) -> bool:
    """Return whether the clock, going back at ``end``, shows the wall time of ``minute`` again."""
    return minute + offset >= end + offset_period_at(zone, end).offset


def _hours(length: timedelta) -> str:
    minutes = length // MINUTE
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
