"""The heat map of the week: which cell a minute falls into, its shade, the fullest minutes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from console.heat_map import LEVELS, crowded, days, heat_map
from contracts.admin_load import WEEK_MINUTES, LoadOutput

BERLIN = ZoneInfo("Europe/Berlin")
BEGINS = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)


def load_of(slots: dict[str, int]) -> LoadOutput:
    """Return a load with so many slots at each of these instants."""
    minutes = [0] * WEEK_MINUTES
    for text, count in slots.items():
        minutes[(datetime.fromisoformat(text) - BEGINS) // timedelta(minutes=1)] = count
    total = sum(slots.values())
    return LoadOutput(
        begins="2026-03-28T23:00:00.000Z", schedules=total, slots=total, minutes=minutes, met=None
    )


LOAD = load_of({"2026-03-30T00:30Z": 3, "2026-03-31T00:30Z": 10, "2026-03-31T12:00Z": 1})


def test_a_cell_is_the_fullest_of_its_days_and_leads_to_it() -> None:
    chart = heat_map(LOAD, BERLIN)
    cells = {cell.clock: cell for cell in chart.cells}
    assert len(cells) == len(chart.cells) == 24 * 60
    night, noon, empty = cells["02:30"], cells["14:00"], cells["05:00"]
    assert (night.count, night.at, night.level) == (10, "2026-03-31T00:30:00.000Z", LEVELS)
    assert (noon.count, noon.level, empty.count, empty.level) == (1, 1, 0, 0)
    assert (night.x - empty.x, night.y < empty.y) == (30 * 10, True)
    assert chart.top == 10


def test_a_map_of_one_day_shows_that_day_alone() -> None:
    cells = {cell.clock: cell.count for cell in heat_map(LOAD, BERLIN, "2026-03-30").cells}
    assert (cells["02:30"], cells["14:00"], len(cells)) == (3, 0, 24 * 60)
    # The hour that the clock leaves out has no cells.
    assert len(heat_map(LOAD, BERLIN, "2026-03-29").cells) == 23 * 60
    assert days(LOAD, BERLIN)[:2] == ["2026-03-29", "2026-03-30"]


def test_the_fullest_minutes_come_first_and_empty_ones_never() -> None:
    assert [(each.at[:16], each.count) for each in crowded(LOAD, 10)] == [
        ("2026-03-31T00:30", 10),
        ("2026-03-30T00:30", 3),
        ("2026-03-31T12:00", 1),
    ]
    assert crowded(load_of({}), 10) == []
    assert heat_map(load_of({}), BERLIN).top == 0
