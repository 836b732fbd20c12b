"""The week's load as a heat map of hour by minute: pure geometry, which the template draws."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from contracts.admin_load import LoadOutput
from contracts.times import read_time, wire_time

HOURS, MINUTES = 24, 60
CELL_WIDTH, CELL_HEIGHT = 10, 14
LABEL_WIDTH = 30
LEVELS = 5
"""Shades beside that of nothing."""
MINUTE = timedelta(minutes=1)


class HeatCell(Struct, frozen=True, kw_only=True):
    """A minute of the day: the most slots that one of the days has in it, and on which day.

    ``level`` is 0 for none, then 1 to ``LEVELS``.
    """

    clock: str
    at: str
    count: int
    level: int
    x: int
    y: int


class CrowdedMinute(Struct, frozen=True, kw_only=True):
    """A minute of the week."""

    at: str
    count: int


class HeatMap(Struct, frozen=True, kw_only=True):
    """Cells, row by row; ``top`` is the highest count, ``hours`` what stands before the rows."""

    cells: list[HeatCell]
    top: int
    hours: list[tuple[str, int]]
    width: int = LABEL_WIDTH + MINUTES * CELL_WIDTH
    height: int = HOURS * CELL_HEIGHT


def heat_map(load: LoadOutput, zone: ZoneInfo, day: str | None = None) -> HeatMap:
    """Return the map on the clock of a zone: of one day, as ``days`` names it, or of all."""
    most: dict[int, tuple[int, datetime]] = {}
    chosen = None if day is None else date.fromisoformat(day)
    for at, count in _minutes(load):
        local = at.astimezone(zone)
        cell = local.hour * MINUTES + local.minute
        if (cell not in most or count > most[cell][0]) and chosen in {None, local.date()}:
            most[cell] = (count, at)
    top = max((count for count, _ in most.values()), default=0)
    cells = [
        HeatCell(
            clock=f"{cell // MINUTES:02}:{cell % MINUTES:02}",
            at=wire_time(at),
            count=count,
            level=-(-count * LEVELS // top) if count else 0,
            x=LABEL_WIDTH + cell % MINUTES * CELL_WIDTH,
            y=cell // MINUTES * CELL_HEIGHT,
        )
        for cell, (count, at) in sorted(most.items())
    ]
    hours = [(f"{hour:02}:00", hour * CELL_HEIGHT) for hour in range(HOURS)]
    return HeatMap(cells=cells, top=top, hours=hours)


def days(load: LoadOutput, zone: ZoneInfo) -> list[str]:
    """Return the days of the week on the clock of a zone; the last one has begun before."""
    return sorted({at.astimezone(zone).date().isoformat() for at, _ in _minutes(load)})


def crowded(load: LoadOutput, count: int) -> list[CrowdedMinute]:
    """Return the minutes with the most slots, the fullest first and, of equals, the earliest."""
    fullest = sorted(range(len(load.minutes)), key=lambda index: (-load.minutes[index], index))
    begins = read_time(load.begins)
    return [
        CrowdedMinute(at=wire_time(begins + index * MINUTE), count=load.minutes[index])
        for index in fullest[:count]
        if load.minutes[index]
    ]


def _minutes(load: LoadOutput) -> Sequence[tuple[datetime, int]]:
    begins = read_time(load.begins).astimezone(UTC)
    return [(begins + index * MINUTE, count) for index, count in enumerate(load.minutes)]
