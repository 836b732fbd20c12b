"""The clock changes that are found, against the raw data of every zone."""

import struct
from importlib import resources
from io import BytesIO
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rules import zones
from service.rules.offsets import EPOCH, MINUTE, offset_period_at

FIRST = 3 * 366 * 1440
LAST = 90 * 366 * 1440


def recorded_changes(name: str) -> list[tuple[int, int, int]]:
    """(UTC minute, offset before, offset after) as compiled into the zone's file (TZif, 64 bit)."""
    raw = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    header = struct.Struct(">4s c 15x 6l")
    _, _, isut, isstd, leap, count, types, chars = header.unpack_from(raw)
    second = header.size + 5 * count + 6 * types + chars + 8 * leap + isstd + isut
    *_, count, types, chars = header.unpack_from(raw, second)
    start = second + header.size
    instants = struct.unpack_from(f">{count}q", raw, start)
    indexes = struct.unpack_from(f">{count}B", raw, start + 8 * count)
    offsets = [struct.unpack_from(">l", raw, start + 9 * count + 6 * n)[0] for n in range(types)]
    changes = []
    for nth in range(1, count):
        before, after = offsets[indexes[nth - 1]] // 60, offsets[indexes[nth]] // 60
        if before != after:
            changes.append((instants[nth] // 60, before, after))
    return changes


@pytest.mark.sweep
@pytest.mark.parametrize("initial", sorted({name[0] for name in zones.names()}))
def test_every_recorded_change_starts_an_offset_period(initial: str) -> None:
    for name in sorted(name for name in zones.names() if name[0] == initial):
        zone = zones.load(name)
        assert zone is not None
        recorded = [change for change in recorded_changes(name) if FIRST < change[0] < LAST]
        found = []
        minute = FIRST
        last = recorded[-1][0] if recorded else FIRST
        while minute <= last:
            period = offset_period_at(zone, minute)
            assert period.start <= minute < period.end
            if period.before != period.offset and period.start > FIRST:
                found.append((period.start, period.before, period.offset))
            minute = period.end
        assert found == recorded


def test_changes_of_the_far_future_follow_the_rule() -> None:
    zone = zones.load("Europe/Berlin")
    assert zone is not None
    year = EPOCH.replace(year=2090)
    spring = offset_period_at(zone, (year.replace(month=5) - EPOCH) // MINUTE)
    assert EPOCH + spring.start * MINUTE == year.replace(month=3, day=26, hour=1)
    assert (spring.before, spring.offset) == (60, 120)


def test_a_zone_without_changes_has_one_offset_period_at_a_time() -> None:
    zone = zones.load("Asia/Kolkata")
    assert zone is not None
    period = offset_period_at(zone, (EPOCH.replace(year=2026) - EPOCH) // MINUTE)
    assert period.offset == period.before == 330


BLOCK = 64 * 5 * 1440
"""What the periods are found by: a change at its edge must be found like any other."""


def zone_with(changes: list[tuple[int, int]]) -> ZoneInfo:
    """A zone of its own, at UTC until the first of (UTC minute, offset): TZif of version 2."""
    header = struct.Struct(">4s c 15x 6l")
    offsets = [0, *(offset for _, offset in changes)]
    raw = (
        header.pack(b"TZif", b"2", 0, 0, 0, 0, 1, 4)
        + struct.pack(">lBB", 0, 0, 0)
        + b"TST\0"
        + header.pack(b"TZif", b"2", 0, 0, 0, len(changes), len(offsets), 4)
        + struct.pack(f">{len(changes)}q", *(60 * minute for minute, _ in changes))
        + bytes(range(1, len(offsets)))
        + b"".join(struct.pack(">lBB", 60 * offset, 0, 0) for offset in offsets)
        + b"TST\0\n\n"
    )
    return ZoneInfo.from_file(BytesIO(raw))


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Changes at least six days apart, many of them at the edges of blocks."""
    edges = st.tuples(st.integers(5, 12), st.integers(-3, 3)).map(
        lambda edge: BLOCK * edge[0] + edge[1]
    )
    minutes = draw(st.lists(edges | st.integers(4 * BLOCK, 14 * BLOCK), min_size=1, max_size=6))
    changes: list[tuple[int, int]] = []
    for minute in sorted(minutes):
        last, offset = changes[-1] if changes else (0, 0)
        if minute - last > 6 * 1440:
            moved = draw(st.sampled_from([-120, -60, -30, 30, 60, 1440]))
            changes.append((minute, offset + moved if abs(offset + moved) < 1000 else 0))
    return [
        (minute, offset)
        for (_, before), (minute, offset) in pairwise([(0, 0), *changes])
        if offset != before
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(changes=histories(), more=st.lists(st.integers(3 * BLOCK, 15 * BLOCK), max_size=5))
def test_every_minute_lies_in_a_period_of_one_offset(
    changes: list[tuple[int, int]], more: list[int]
) -> None:
    zone, when = zone_with(changes), [minute for minute, _ in changes]

    def offset_at(minute: int) -> int:
        return next((offset for at, offset in reversed(changes) if at <= minute), 0)

    near = [change + by for change in when for by in (-BLOCK, -2, -1, 0, 1, BLOCK)]
    for minute in [*near, *more]:
        period = offset_period_at(zone, minute)
        assert period.start <= minute < period.end
        assert period.offset == offset_at(minute)
        assert not any(period.start < change < period.end for change in when)
        if period.start in when:
            assert period.before == offset_at(period.start - 1)
        else:
            assert period.before == period.offset
            assert minute - period.start > 300 * 1440
        assert period.end in when or period.end - minute > 300 * 1440
