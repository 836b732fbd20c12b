"""The slots of an expression found by looking at every single minute: slow, and plainly right.

Shares nothing with the code under test, nor with any cron library.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
LOOK_BACK = timedelta(hours=27)


class Moment(NamedTuple):
    """A minute of UTC, and what a clock on the wall shows then."""

    instant: datetime
    wall: datetime


def moments(zone: ZoneInfo, after: datetime, until: datetime) -> list[Moment]:
    """Yield every minute from a day before ``after`` (what was shown then counts) to ``until``."""
    instant = after.replace(second=0, microsecond=0) - LOOK_BACK
    walked = []
    while instant <= until:
        walked.append(Moment(instant, instant.astimezone(zone).replace(tzinfo=None, fold=0)))
        instant += MINUTE
    return walked


def walk(expression: str, walked: Sequence[Moment], after: datetime) -> list[datetime]:
    """Return the slots later than ``after`` among the walked minutes."""
    fields = expression.split()
    wanted = [set(_numbers(field, *bounds)) for field, bounds in zip(fields, BOUNDS, strict=True)]
    fixed = "*" not in fields[0] and "*" not in fields[1]
    shown: set[datetime] = set()
    slots = []
    previous = None
    for instant, wall in walked:
        due = _matches(wanted, wall)
        if fixed:
            due = (due and wall not in shown) or (
                previous is not None and _skipped(wanted, previous, wall)
            )
            shown.add(wall)
        if due and instant > after:
            slots.append(instant)
        previous = wall
    return slots


def utc(*parts: int) -> datetime:
    """Return an instant in UTC from year, month, day and so on."""
    year, month, day, *rest = parts
    hour, minute, second = (*rest, 0, 0, 0)[:3]
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _numbers(field: str, lowest: int, highest: int) -> Iterator[int]:
    for term in field.split(","):
        span, _, step = term.partition("/")
        low, dash, high = span.partition("-")
        first = lowest if low == "*" else int(low)
        last = int(high) if dash else (highest if low == "*" or step else first)
        yield from range(first, last + 1, int(step or 1))


def _matches(wanted: list[set[int]], wall: datetime) -> bool:
    minute, hour, day, month, weekday = wanted
    return (
        wall.minute in minute
        and wall.hour in hour
        and wall.day in day
        and wall.month in month
        and bool({wall.isoweekday(), wall.isoweekday() % 7} & weekday)
    )


def _skipped(wanted: list[set[int]], previous: datetime, wall: datetime) -> bool:
    """Return whether the clock jumped over a minute that matches."""
    missing = previous + MINUTE
    while missing < wall:
        if _matches(wanted, missing):
            return True
        missing += MINUTE
    return False
