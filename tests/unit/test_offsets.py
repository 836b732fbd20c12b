"""The clock changes that are found, against the raw data of every zone."""

import struct
from importlib import resources

import pytest

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
