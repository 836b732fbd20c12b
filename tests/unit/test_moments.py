"""Instants as people ask for them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from service.rules.moments import Moment, read_moment

BERLIN, TROLL = ZoneInfo("Europe/Berlin"), ZoneInfo("Antarctica/Troll")
NOW = datetime(2026, 6, 15, 12, 30, 20, tzinfo=UTC)
"""14:30:20 in Berlin."""


def read(text: str, zone: ZoneInfo = BERLIN, now: datetime = NOW) -> datetime:
    moment = read_moment(text, zone, now)
    assert moment.gap is None
    return moment.at


def utc(year: int, month: int, day: int, hour: int, minute: int) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-06-15T10:11:12.5Z", utc(2026, 6, 15, 10, 11)),
        ("2026-06-15T10:11:59+02:00", utc(2026, 6, 15, 8, 11)),
        (" 2026-06-15T10:11:00Z ", utc(2026, 6, 15, 10, 11)),
        ("2026-06-15 10:11", utc(2026, 6, 15, 8, 11)),
        ("2026-06-15T10:11", utc(2026, 6, 15, 8, 11)),
        ("2026-01-15 10:11", utc(2026, 1, 15, 9, 11)),
        ("2027-01-15 10:11", utc(2027, 1, 15, 9, 11)),
        (" 10:11\n", utc(2026, 6, 15, 8, 11)),
    ],
)
def test_an_instant_or_a_wall_time_is_read_to_the_minute(text: str, at: datetime) -> None:
    assert read(text) == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("14:30", utc(2026, 6, 15, 12, 30)),
        ("14:31", utc(2026, 6, 14, 12, 31)),
        ("23:59", utc(2026, 6, 14, 21, 59)),
        ("00:00", utc(2026, 6, 14, 22, 0)),
    ],
)
def test_a_time_alone_is_the_last_time_that_the_clock_showed_it(text: str, at: datetime) -> None:
    assert read(text) == at


def test_a_time_alone_is_of_the_day_in_the_zone() -> None:
    after_midnight = utc(2026, 6, 15, 22, 30)
    assert read("00:15", now=after_midnight) == utc(2026, 6, 15, 22, 15)
    assert read("23:15", now=after_midnight) == utc(2026, 6, 15, 21, 15)


def test_this_very_minute_has_come() -> None:
    assert read("14:30", now=utc(2026, 6, 15, 12, 30)) == utc(2026, 6, 15, 12, 30)


@pytest.mark.parametrize(
    "text", ["", "noon", "1:30", "24:00", "12:60", "2026-02-30 10:00", "2026-06-15", "10:11:12"]
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_moment(text, BERLIN, NOW)


def test_of_a_time_that_occurs_twice_the_first_is_meant() -> None:
    assert read("2026-10-25 02:30") == utc(2026, 10, 25, 0, 30)


@pytest.mark.parametrize("wall", ["02:00", "02:01", "02:30", "02:59"])
def test_a_time_in_a_gap_is_the_first_instant_after_it(wall: str) -> None:
    assert read_moment(f"2026-03-29 {wall}", BERLIN, NOW) == Moment(
        utc(2026, 3, 29, 1, 0),
        f"{wall} did not exist on 2026-03-29 in Europe/Berlin: the clock went forward to 03:00",
    )


def test_around_a_gap_times_exist() -> None:
    assert read("2026-03-29 01:59") == utc(2026, 3, 29, 0, 59)
    assert read("2026-03-29 03:00") == utc(2026, 3, 29, 1, 0)


def test_a_gap_may_be_of_two_hours() -> None:
    moment = read_moment("2026-03-29 02:30", TROLL, NOW)
    assert moment.at == utc(2026, 3, 29, 1, 0)
    assert moment.gap is not None
    assert moment.gap.endswith("forward to 03:00")


def test_the_last_time_may_lie_in_a_gap() -> None:
    moment = read_moment("02:30", BERLIN, utc(2026, 3, 29, 12, 0))
    assert moment.at == utc(2026, 3, 29, 1, 0)
    assert moment.gap is not None
    yesterday = read_moment("02:30", BERLIN, utc(2026, 3, 29, 0, 45))
    assert yesterday == Moment(utc(2026, 3, 28, 1, 30))
