"""Periods of time during which a zone keeps one offset from UTC.

Minutes everywhere: UTC minutes since 1970, wall minutes = UTC minutes + offset. Exact from 1973 on,
when the last zone had given up an offset with seconds.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from msgspec import Struct

MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# No zone ever changed twice within 6 days (a test compares the result with the raw data).
_PROBE = 5 * 1440
_BLOCK = 64 * _PROBE


class OffsetPeriod(Struct, frozen=True):
    """``start <= minute < end`` with one ``offset``; ``before`` is the one just before ``start``.

    Where no change is near, a period begins or ends without one: then ``before`` is ``offset``.
    """

    start: int
    end: int
    offset: int
    before: int


def offset_period_at(zone: ZoneInfo, minute: int) -> OffsetPeriod:
    """Return the period that a UTC minute lies in; its start is a clock change or a year away."""
    starts, periods = _offset_periods(zone, minute // _BLOCK)
    return periods[bisect_right(starts, minute) - 1]


@lru_cache(maxsize=8192)
def _offset_periods(zone: ZoneInfo, block: int) -> tuple[list[int], list[OffsetPeriod]]:
    start = (block - 1) * _BLOCK
    before = _offset(zone, start - 1)
    changes = [change for near in (-1, 0, 1) for change in _changes(zone, block + near)]
    ends = [*(change for change in changes if change > start), (block + 2) * _BLOCK]
    periods = []
    for end in ends:
        offset = _offset(zone, start)
        periods.append(OffsetPeriod(start=start, end=end, offset=offset, before=before))
        start, before = end, offset
    return [period.start for period in periods], periods


@lru_cache(maxsize=8192)
def _changes(zone: ZoneInfo, block: int) -> list[int]:
    """Return the minutes of one block at which the offset is another than a minute before."""
    probes = range(block * _BLOCK - 1, (block + 1) * _BLOCK, _PROBE)
    offsets = [_offset(zone, minute) for minute in probes]
    return [
        _change_in(zone, low, high)
        for (low, high), (before, after) in zip(pairwise(probes), pairwise(offsets), strict=True)
        if before != after
    ]


def _change_in(zone: ZoneInfo, low: int, high: int) -> int:
    """Return the first minute in (low, high] whose offset differs from that at ``low``."""
    before = _offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(zone: ZoneInfo, minute: int) -> int:
    offset = (EPOCH + minute * MINUTE).astimezone(zone).utcoffset()
    return (offset or timedelta()) // MINUTE
