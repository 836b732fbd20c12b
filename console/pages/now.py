"""Now: is all well?"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from aiohttp import web
from msgspec import Struct

from console.charts import BarChart, minutes, stacked_bars
from console.responders import ResponderInfo
from console.visit import ConsoleRoute, Visit
from contracts.admin_insight import RunMinute, StatsInput, StatsOutput
from contracts.admin_schedules import (
    ListSchedulesInput,
    ListSchedulesOutput,
    RunHistoryInput,
    RunHistoryOutput,
)
from contracts.times import read_time, wire_time

HOUR = 60
PROMISED_LATENESS_MS = 1_000
"""Milliseconds from slot to call; above it the page says that runs are late."""
STATUSES = ("success", "running", "queued", "skipped", "skipped_overlap", "error")
"""From the bottom of a bar to its top."""
SHOWN = 5


class NowFigures(Struct, frozen=True, kw_only=True):
    """What the page shows of the figures; ``worries`` says in words what is not well."""

    due: BarChart
    runs: BarChart
    by_status: dict[str, int]
    late: bool
    worries: list[str]


async def show(visit: Visit) -> web.Response:
    """Show the figures of the hour, what fails, and what is held."""
    stats = await visit.read("stats", StatsInput(), StatsOutput)
    failing = await visit.read(
        "listSchedules", ListSchedulesInput(failing=True, limit=SHOWN), ListSchedulesOutput
    )
    # Of the hour: without a bound, where none failed, all history would be searched.
    since = wire_time(visit.now.replace(second=0, microsecond=0) - timedelta(minutes=HOUR))
    errors = await visit.read(
        "runHistory", RunHistoryInput(status="error", since=since, limit=SHOWN), RunHistoryOutput
    )
    responders = visit.parts.responders.current()
    return visit.page(
        "now.html",
        stats=stats,
        figures=figures(stats, responders if visit.person.is_operator else None),
        failing=failing.schedules,
        errors=errors.runs,
        responders=responders,
        promised_ms=promised_ms(stats),
        statuses=STATUSES,
    )


def figures(stats: StatsOutput, responders: Sequence[ResponderInfo] | None) -> NowFigures:
    """Return what the page shows; ``responders`` is None where the person may not see them."""
    at = read_time(stats.at)
    due = {read_time(minute.minute): {"due": minute.count} for minute in stats.due}
    runs = {read_time(minute.minute): _counts(minute) for minute in stats.runs}
    lateness = stats.lateness
    late = lateness is not None and lateness.p99_ms > promised_ms(stats)
    return NowFigures(
        due=stacked_bars(minutes(at + timedelta(minutes=1), HOUR), due, ("due",)),
        runs=stacked_bars(
            minutes(at - timedelta(minutes=HOUR - 1), HOUR), _by_minute(runs), STATUSES
        ),
        by_status={status: sum(counts[status] for counts in runs.values()) for status in STATUSES},
        late=late,
        worries=_worries(stats, responders, late=late),
    )


def promised_ms(stats: StatsOutput) -> int:
    """Return the lateness that 99 of 100 runs keep, with what starts are spread over."""
    return PROMISED_LATENESS_MS + (0 if stats.lateness is None else stats.lateness.spread_ms)


def _worries(
    stats: StatsOutput, responders: Sequence[ResponderInfo] | None, *, late: bool
) -> list[str]:
    worries = []
    if not stats.workers_up:
        worries.append("No worker is up: nothing fires.")
    if responders is not None and not all(responder.state.has_database for responder in responders):
        worries.append("A responder has lost its database.")
    if late:
        worries.append("Runs begin later than promised.")
    if stats.missed:
        worries.append("Slots were missed.")
    if stats.failing_schedules:
        worries.append("Schedules fail.")
    if stats.paused_tenants:
        worries.append(
            f"Held: {_counted(stats.paused_tenants, 'tenant is', 'tenants are')} paused."
        )
    if stats.disabled_installs:
        disabled = _counted(stats.disabled_installs, "install is", "installs are")
        worries.append(f"Held: {disabled} disabled.")
    return worries


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _counts(minute: RunMinute) -> dict[str, int]:
    return {status: getattr(minute, status) for status in STATUSES}


def _by_minute(runs: dict[datetime, dict[str, int]]) -> dict[datetime, dict[str, int]]:
    """Add up the slots of a minute: manual runs have seconds."""
    whole: dict[datetime, dict[str, int]] = {}
    for slot, counts in runs.items():
        minute = whole.setdefault(slot.replace(second=0, microsecond=0), dict.fromkeys(STATUSES, 0))
        for status, count in counts.items():
            minute[status] += count
    return whole


ROUTES = (ConsoleRoute("GET", "/", show),)
