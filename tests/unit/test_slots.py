"""Slots around clock changes, held against a walk over every minute."""

import json
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rules import zones
from service.rules.cron import Cron, parse
from service.rules.offsets import EPOCH, MINUTE, offset_period_at
from service.rules.slots import (
    count_between,
    latest_slot,
    next_slot,
    next_slots,
    slot_minutes,
    slots_between,
)
from tests.support.slot_walk import Moment, moments, utc, walk

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "dst.json").read_text()
)["cases"]


def zone_of(name: str) -> ZoneInfo:
    zone = zones.load(name)
    assert zone is not None
    return zone


def cron_of(expression: str) -> Cron:
    return parse(expression, min_interval_minutes=1)


def hold(expression: str, zone: ZoneInfo, after: datetime, until: datetime) -> None:
    """Compare all functions with the walk, over one interval."""
    agree(expression, zone, after, until, moments(zone, after, until))


def agree(
    expression: str, zone: ZoneInfo, after: datetime, until: datetime, walked: list[Moment]
) -> None:
    expected = walk(expression, walked, after)
    cron = cron_of(expression)
    context = f"{expression} in {zone.key} from {after} until {until}"
    assert slots_between(cron, zone, after, until) == expected, context
    assert count_between(cron, zone, after, until) == len(expected), context
    assert latest_slot(cron, zone, after, until) == (expected[-1] if expected else None), context
    first, last = (EPOCH + (edge - EPOCH) // MINUTE * MINUTE for edge in (after, until))
    counted = slot_minutes(cron, zone, first + MINUTE, (last - first) // MINUTE)
    assert [first + MINUTE + each * MINUTE for each in counted] == expected, context
    following = next_slot(cron, zone, after)
    assert (following == expected[0]) if expected else (following > until), context
    assert next_slots(cron, zone, after, len(expected)) == expected, context


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['timezone']} {case['after'][:10]} {case['cron']}"
)
def test_slots_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    cron, zone = cron_of(case["cron"]), zone_of(case["timezone"])
    after, until = (datetime.fromisoformat(case[end]) for end in ("after", "until"))
    expected = [datetime.fromisoformat(slot) for slot in case["slots"]]
    assert slots_between(cron, zone, after, until) == expected
    assert count_between(cron, zone, after, until) == len(expected)
    assert latest_slot(cron, zone, after, until) == (expected[-1] if expected else None)
    assert next_slots(cron, zone, after, len(expected)) == expected
    for earlier, later in pairwise(expected):
        assert next_slot(cron, zone, earlier) == later


@pytest.mark.parametrize("case", CASES[::7], ids=lambda case: f"{case['timezone']} {case['cron']}")
def test_the_reference_walk_agrees_with_the_vectors(case: dict[str, Any]) -> None:
    after, until = (datetime.fromisoformat(case[end]) for end in ("after", "until"))
    walked = moments(zone_of(case["timezone"]), after, until)
    expected = [datetime.fromisoformat(slot) for slot in case["slots"]]
    assert walk(case["cron"], walked, after) == expected


@pytest.mark.parametrize(
    ("name", "expression", "after", "slots"),
    [
        # half an hour forward
        ("Australia/Lord_Howe", "15 2 * * *", utc(2026, 10, 3, 12), [utc(2026, 10, 3, 15, 30)]),
        # half an hour back: the first of two 01:45
        ("Australia/Lord_Howe", "45 1 * * *", utc(2026, 4, 4, 12), [utc(2026, 4, 4, 14, 45)]),
        # two hours forward
        ("Antarctica/Troll", "30 1 * * *", utc(2026, 3, 29), [utc(2026, 3, 29, 1)]),
        # midnight does not exist
        ("Africa/Cairo", "0 0 * * *", utc(2026, 4, 23, 12), [utc(2026, 4, 23, 22)]),
        # midnight exists twice: 23:00 to 24:00 comes again
        ("Africa/Cairo", "30 23 * * *", utc(2026, 10, 29, 12), [utc(2026, 10, 29, 20, 30)]),
        # a whole day is skipped: its fixed slot comes at once after it, together with the next
        ("Pacific/Apia", "0 9 30 12 *", utc(2011, 12, 29), [utc(2011, 12, 30, 10)]),
        (
            "Pacific/Apia",
            "0 9 * * *",
            utc(2011, 12, 29, 20),
            [utc(2011, 12, 30, 10), utc(2011, 12, 30, 19)],
        ),
        # several skipped times, and the first instant after the gap matches as well: one slot
        (
            "Europe/Berlin",
            "0,15,30 2,3 * * *",
            utc(2026, 3, 29),
            [utc(2026, 3, 29, 1), utc(2026, 3, 29, 1, 15), utc(2026, 3, 29, 1, 30)],
        ),
        # elapsed time: the skipped hour is not made up, the repeated one fires again
        ("Europe/Berlin", "*/30 2 * * *", utc(2026, 3, 29), [utc(2026, 3, 30)]),
        (
            "Europe/Berlin",
            "30 * * * *",
            utc(2026, 10, 25, 0),
            [utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30), utc(2026, 10, 25, 2, 30)],
        ),
    ],
)
def test_slots_around_known_clock_changes_are_right(
    name: str, expression: str, after: datetime, slots: list[datetime]
) -> None:
    assert next_slots(cron_of(expression), zone_of(name), after, len(slots)) == slots


def test_bounds_are_open_below_and_closed_above() -> None:
    cron, zone = cron_of("0 * * * *"), zone_of("UTC")
    one, two = utc(2026, 1, 1, 1), utc(2026, 1, 1, 2)
    second = timedelta(seconds=1)
    assert slots_between(cron, zone, one, two) == [two]
    assert slots_between(cron, zone, one - second, two - second) == [one]
    assert next_slot(cron, zone, one) == two
    assert next_slot(cron, zone, one - second) == one
    assert next_slot(cron, zone, one + timedelta(microseconds=1)) == two
    assert latest_slot(cron, zone, one, two - second) is None
    assert latest_slot(cron, zone, two, two) is None
    assert count_between(cron, zone, two, one) == 0
    assert slots_between(cron, zone, two, one) == []


def test_slots_are_instants_in_utc_whatever_the_zone_of_the_argument() -> None:
    berlin = zone_of("Europe/Berlin")
    slot = next_slot(cron_of("0 9 * * *"), berlin, datetime(2026, 7, 1, 8, 59, 59, tzinfo=berlin))
    assert slot.isoformat() == "2026-07-01T07:00:00+00:00"


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(TypeError):
        next_slot(cron_of("0 9 * * *"), zone_of("UTC"), utc(2026, 1, 1).replace(tzinfo=None))


def test_rare_dates_are_found_across_a_century_without_a_leap_year() -> None:
    cron, zone = cron_of("0 0 29 2 *"), zone_of("America/New_York")
    assert next_slots(cron, zone, utc(2096, 3, 1), 2) == [utc(2104, 2, 29, 5), utc(2108, 2, 29, 5)]
    assert latest_slot(cron, zone, utc(2020, 1, 1), utc(2027, 1, 1)) == utc(2024, 2, 29, 5)


def test_a_long_outage_is_counted_as_it_would_be_listed() -> None:
    cron, zone = cron_of("*/5 * * * *"), zone_of("Europe/Berlin")
    after, until = utc(2024, 1, 1, 0, 3), utc(2026, 11, 21, 5, 41)
    listed = slots_between(cron, zone, after, until)
    assert count_between(cron, zone, after, until) == len(listed)
    assert latest_slot(cron, zone, after, until) == listed[-1]


@pytest.mark.parametrize("expression", ["17 4 * * *", "*/20 1-5 * * 1-5", "0 12 1,15 * *"])
def test_another_library_agrees_where_the_clock_does_not_jump(expression: str) -> None:
    start = utc(2026, 6, 1, 3, 7)
    berlin = zone_of("Europe/Berlin")
    other = CronSim(expression, start.astimezone(berlin))
    theirs = [next(other).astimezone(start.tzinfo) for _ in range(20)]
    assert next_slots(cron_of(expression), berlin, start, 20) == theirs


@cache
def changes(name: str) -> list[int]:
    """Return the UTC minutes at which a zone's clock jumps, from 1975 to 2040."""
    zone = zone_of(name)
    minute, last = 5 * 366 * 1440, 70 * 366 * 1440
    found = []
    while minute < last:
        period = offset_period_at(zone, minute)
        if period.before != period.offset:
            found.append(period.start)
        minute = period.end
    return found


AROUND = ["30 1 * * *", "0,20,40 0,2 * * *", "*/20 0-3 * * *", "0 3,23 * * *", "10 */2 * * *"]


@pytest.mark.sweep
@pytest.mark.parametrize("initial", sorted({name[0] for name in zones.names()}))
def test_every_zone_around_its_latest_change(initial: str) -> None:
    seen = set()
    for name in sorted(name for name in zones.names() if name[0] == initial):
        zone = zone_of(name)
        jump = EPOCH + (changes(name) or [0])[-1] * MINUTE
        after, until = jump - timedelta(hours=5), jump + timedelta(hours=8)
        walked = moments(zone, after, until)
        # Links, and zones that follow the same rule, show the same: once is enough.
        shown = (jump, *(wall for _, wall in walked[::60]))
        if shown not in seen:
            seen.add(shown)
            for expression in AROUND:
                agree(expression, zone, after, until, walked)


@st.composite
def fields(draw: st.DrawFn, lowest: int, highest: int) -> str:
    low = draw(st.integers(lowest, highest))
    high = draw(st.integers(low, highest))
    step = draw(st.integers(1, 20))
    shapes = ["*", "*", f"{low}", f"{low},{high}", f"{low}-{high}", f"*/{step}", f"{low}/{step}"]
    return draw(st.sampled_from(shapes))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """Return random expressions, dense enough that something happens within a day or two."""
    minute, hour = draw(fields(0, 59)), draw(fields(0, 23))
    near_midnight = draw(st.sampled_from([hour, "0-4", "0/1", "22,23,0,1,2,3", "2", "*"]))
    day, weekday = draw(
        st.sampled_from([("*", "*"), ("*", draw(fields(0, 7))), (draw(fields(1, 31)), "*")])
    )
    return f"{minute} {near_midnight} {day} * {weekday}"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(zones.names())),
    expression=expressions(),
    pick=st.integers(0, 10_000),
    lead=st.integers(0, 26 * 3600),
    length=st.integers(0, 30 * 3600),
)
def test_random_expressions_around_random_changes(
    name: str, expression: str, pick: int, lead: int, length: int
) -> None:
    known = changes(name) or [29_000_000]
    jump = EPOCH + known[pick % len(known)] * MINUTE
    after = jump - timedelta(seconds=lead)
    hold(expression, zone_of(name), after, after + timedelta(seconds=length))


UNUSUAL = [
    ("Pacific/Apia", utc(2011, 12, 30, 10)),  # a day forward
    ("Pacific/Kwajalein", utc(1993, 8, 21, 12)),  # a day forward
    ("Antarctica/Vostok", utc(1994, 11, 1, 0)),  # seven hours, there and back
    ("Antarctica/Troll", utc(2026, 3, 29, 1)),
    ("Antarctica/Troll", utc(2026, 10, 25, 1)),
    ("Antarctica/Casey", utc(2010, 3, 4, 15)),  # three hours back
    ("Australia/Lord_Howe", utc(2026, 4, 4, 15)),
    ("Australia/Lord_Howe", utc(2026, 10, 3, 15, 30)),
    ("Asia/Pyongyang", utc(2015, 8, 14, 15)),  # half an hour back at midnight
    ("Asia/Kathmandu", utc(1985, 12, 31, 18, 30)),  # a quarter forward at New Year
    ("Africa/Cairo", utc(2026, 4, 23, 22)),
    ("Africa/Cairo", utc(2026, 10, 29, 21)),
    ("Africa/Casablanca", utc(2026, 2, 15, 2)),
    ("America/Havana", utc(2026, 11, 1, 5)),
    ("Asia/Gaza", utc(2040, 10, 20, 0)),
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    place=st.sampled_from(UNUSUAL),
    expression=expressions(),
    lead=st.integers(0, 26 * 60),
    length=st.integers(0, 40 * 60),
)
def test_random_expressions_around_unusual_changes(
    place: tuple[str, datetime], expression: str, lead: int, length: int
) -> None:
    name, jump = place
    after = jump - timedelta(minutes=lead)
    hold(expression, zone_of(name), after, after + timedelta(minutes=length))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(zones.names())),
    expression=expressions(),
    start=st.integers(0, 60 * 365 * 1440),
    days=st.integers(0, 40),
)
def test_counting_and_stepping_agree_over_long_intervals(
    name: str, expression: str, start: int, days: int
) -> None:
    cron, zone = cron_of(expression), zone_of(name)
    after = utc(1980, 1, 1) + start * MINUTE
    until = after + timedelta(days=days)
    listed = slots_between(cron, zone, after, until)
    assert count_between(cron, zone, after, until) == len(listed)
    assert latest_slot(cron, zone, after, until) == (listed[-1] if listed else None)
    assert all(earlier < later for earlier, later in pairwise(listed))
    assert all(slot.second == 0 for slot in listed)


def test_the_latest_slot_may_be_the_first_minute_that_is_asked_for() -> None:
    cron, zone, one = cron_of("0 * * * *"), zone_of("UTC"), utc(2026, 1, 1, 1)
    assert latest_slot(cron, zone, one - MINUTE, one) == one
    assert latest_slot(cron, zone, one - MINUTE, one + MINUTE) == one


def test_the_latest_slot_of_a_year_may_be_its_only_one() -> None:
    cron, zone = cron_of("0 12 1 1 *"), zone_of("UTC")
    noon = utc(2026, 1, 1, 12)
    assert latest_slot(cron, zone, utc(2025, 12, 1), utc(2026, 1, 1, 13)) == noon
    assert latest_slot(cron, zone, utc(2025, 12, 1), utc(2026, 6, 1)) == noon
    assert latest_slot(cron, zone, utc(2025, 12, 1), utc(2026, 1, 1, 11)) is None


def test_days_and_months_come_in_the_order_of_the_calendar() -> None:
    cron, zone = cron_of("0 0 17,8,1 8,1 *"), zone_of("UTC")
    dates = [utc(2026, month, day) for month in (1, 8) for day in (1, 8, 17)]
    assert next_slots(cron, zone, utc(2025, 12, 31), 6) == dates
    assert latest_slot(cron, zone, utc(2026, 1, 1), utc(2026, 12, 1)) == dates[-1]
    assert count_between(cron, zone, utc(2026, 1, 1, 1), utc(2026, 8, 8)) == 4
