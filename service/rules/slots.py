"""The instants at which a schedule is due.

Cron fields are wall-clock time. Where the clock jumps, the rules of the Debian/Vixie cron hold: a
*fixed* expression whose wall time is skipped fires once, at the first instant after the gap, and
one whose wall time occurs twice at the first occurrence only; any other follows elapsed time.

Instants are aware datetimes, slots UTC at second 0. Years beyond 9990 raise ValueError or
OverflowError. Nothing here depends on the schedule: compute once per (expression, zone).
"""

import sys
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from datetime import date, datetime
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from msgspec import Struct

from service.rules.cron import MINUTES_PER_DAY, Cron
from service.rules.offsets import EPOCH, MINUTE, offset_period_at

_EPOCH_DAY = EPOCH.toordinal()


def next_slot(cron: Cron, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first slot strictly after an instant; there always is one."""
    return next(_ascending(cron, zone, _floor(after), sys.maxsize))


def next_slots(cron: Cron, zone: ZoneInfo, after: datetime, count: int) -> list[datetime]:
    """Return the first ``count`` slots strictly after an instant."""
    return list(islice(_ascending(cron, zone, _floor(after), sys.maxsize), count))


def slots_between(cron: Cron, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """Return all slots in (after, until], ascending."""
    return list(_ascending(cron, zone, _floor(after), _floor(until)))


def latest_slot(cron: Cron, zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """Return the last slot in (after, until], or None where there is none."""
    latest = None
    for span in _spans(cron, zone, _floor(after), _floor(until)):
        wall = _wall_before(cron, span.high)
        if wall >= span.low:
            latest = wall - span.offset
        elif span.fires_skipped:
            latest = span.start
    return None if latest is None else _instant(latest)


def count_between(cron: Cron, zone: ZoneInfo, after: datetime, until: datetime) -> int:
    """Return the number of slots in (after, until], without listing them."""
    return sum(
        span.fires_skipped + _count(cron, span.low, max(span.low, span.high))
        for span in _spans(cron, zone, _floor(after), _floor(until))
    )


def slot_minutes(cron: Cron, zone: ZoneInfo, start: datetime, minutes: int) -> Iterator[int]:
    """Yield the slots of so many ``minutes``, each as the number of minutes after ``start``.

    A fifth of the cost of ``slots_between``: for many slots of many pairs.
    """
    first = _floor(start)
    for span in _spans(cron, zone, first - 1, first + minutes - 1):
        if span.fires_skipped:
            yield span.start - first
        shift = span.offset + first
        for day in range(span.low // MINUTES_PER_DAY, (span.high - 1) // MINUTES_PER_DAY + 1):
            midnight = day * MINUTES_PER_DAY
            if _day_from(cron, day) != day:
                continue
            for time in cron.times:
                if span.low <= midnight + time < span.high:
                    yield midnight + time - shift


def is_slot_of(cron: Cron, zone: ZoneInfo, instant: datetime) -> bool:
    """Return whether a whole minute is a slot."""
    return next(slot_minutes(cron, zone, instant, 1), None) is not None


class _Span(Struct, frozen=True):
    """Part of a period: the walls ``low <= wall < high`` fire at ``wall - offset``.

    ``fires_skipped``: skipped wall times fire at ``start``, the first instant after the gap.
    """

    start: int
    fires_skipped: bool
    low: int
    high: int
    offset: int


def _spans(cron: Cron, zone: ZoneInfo, after: int, until: int) -> Iterator[_Span]:
    start = after + 1
    while True:
        # Nothing fires before the next matching wall time: an offset is less than a day.
        start = max(start, _wall_from(cron, start - MINUTES_PER_DAY) - MINUTES_PER_DAY)
        if start > until:
            return
        period = offset_period_at(zone, start)
        low = start + period.offset
        fires_skipped = False
        if cron.fixed:
            # How far the wall clock had come before it jumped: what lies between that and ``low``
            # was skipped (the clock went forward) or has fired before (it went back).
            reached = period.start + period.before
            if start == period.start:
                fires_skipped = _wall_from(cron, reached) < low != _wall_from(cron, low)
            low = max(low, reached)
        high = min(period.end, until + 1) + period.offset
        yield _Span(
            start=start, fires_skipped=fires_skipped, low=low, high=high, offset=period.offset
        )
        start = period.end


def _ascending(cron: Cron, zone: ZoneInfo, after: int, until: int) -> Iterator[datetime]:
    for span in _spans(cron, zone, after, until):
        if span.fires_skipped:
            yield _instant(span.start)
        wall = _wall_from(cron, span.low)
        while wall < span.high:
            yield _instant(wall - span.offset)
            wall = _wall_from(cron, wall + 1)


def _wall_from(cron: Cron, wall: int) -> int:
    """Return the first matching wall minute at or after ``wall``."""
    day, minute = divmod(wall, MINUTES_PER_DAY)
    times = cron.times
    if minute > times[-1]:
        day, minute = day + 1, 0
    matching = _day_from(cron, day)
    time = times[0] if matching > day else times[bisect_left(times, minute)]
    return matching * MINUTES_PER_DAY + time


def _wall_before(cron: Cron, wall: int) -> int:
    """Return the last matching wall minute before ``wall``."""
    day, minute = divmod(wall, MINUTES_PER_DAY)
    times = cron.times
    if minute <= times[0]:
        day, minute = day - 1, MINUTES_PER_DAY
    matching = _day_until(cron, day)
    time = times[-1] if matching < day else times[bisect_left(times, minute) - 1]
    return matching * MINUTES_PER_DAY + time


def _count(cron: Cron, low: int, high: int) -> int:
    """Return the number of matching wall minutes with ``low <= wall < high``."""
    first, from_minute = divmod(low, MINUTES_PER_DAY)
    last, until_minute = divmod(high, MINUTES_PER_DAY)
    days = sum(
        bisect_left(_days(cron, year), last) - bisect_left(_days(cron, year), first)
        for year in range(_year(first), _year(last) + 1)
    )
    return (
        days * len(cron.times)
        - _count_in_day(cron, first, from_minute)
        + _count_in_day(cron, last, until_minute)
    )


def _count_in_day(cron: Cron, day: int, until_minute: int) -> int:
    return bisect_left(cron.times, until_minute) if _day_from(cron, day) == day else 0


def _day_from(cron: Cron, day: int) -> int:
    year = _year(day)
    days = _days(cron, year)
    while not days or days[-1] < day:
        year += 1
        days = _days(cron, year)
    return days[bisect_left(days, day)]


def _day_until(cron: Cron, day: int) -> int:
    year = _year(day)
    days = _days(cron, year)
    while not days or days[0] > day:
        year -= 1
        days = _days(cron, year)
    return days[bisect_left(days, day + 1) - 1]


def _days(cron: Cron, year: int) -> tuple[int, ...]:
    return _matching_days(cron.day, cron.month, cron.weekday, year)


@lru_cache(maxsize=4096)
def _matching_days(
    day: frozenset[int], month: frozenset[int], weekday: frozenset[int], year: int
) -> tuple[int, ...]:
    """Return the matching days of a year, as days since 1970, ascending."""
    matching = []
    for number in sorted(month):
        first = date(year, number, 1).toordinal()
        length = monthrange(year, number)[1]
        ordinals = (first + nth - 1 for nth in sorted(day) if nth <= length)
        # Ordinal 7 was a Sunday.
        matching += [ordinal - _EPOCH_DAY for ordinal in ordinals if ordinal % 7 in weekday]
    return tuple(matching)


def _year(day: int) -> int:
    return date.fromordinal(day + _EPOCH_DAY).year


def _floor(instant: datetime) -> int:
    return (instant - EPOCH) // MINUTE


def _instant(minute: int) -> datetime:
    return EPOCH + minute * MINUTE
