"""Which slots had to fire, which may have: from the history of changes and outages alone."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from math import inf
from zoneinfo import ZoneInfo

from msgspec import Struct

from tests.drill.history import CLOCK_STEP_S, DATABASE_CLOCK, Change, History, Row, Span
from tests.support.slot_walk import Moment, moments, walk

RECOVERY = {
    "worker frozen": 3.0,
    "PostgreSQL restarted": 3.0,
    "PostgreSQL host frozen": 10.0,
    "PostgreSQL disk full": 10.0,
    DATABASE_CLOCK: CLOCK_STEP_S + 3.0,
    "rows locked for a minute": 10.0,
    "connections frozen": 10.0,
    "connections half-open": 10.0,
    "connections delayed": 3.0,
    "COMMIT answers lost": 10.0,
    "primary killed, standby promoted": 10.0,
    "primary frozen, standby promoted": 10.0,
}
"""Faults that delay planning though some worker is alive: a frozen one may hold row locks, and a
silent connection is given up within 10 s."""


class Duty(IntEnum):
    """What is known of a slot. What is not known at all must not fire."""

    MAY = 1
    """It lies around a change, or an outage and a change after it."""
    ACCOUNT = 2
    """It has a run record, or the next run record counts it as missed."""
    FIRE = 3
    """It has a run record: nothing stood in the way."""


class Phase(Struct, frozen=True):
    """A time in which a schedule was the same, and the edges that are not known exactly."""

    row: Row
    earliest: float
    certain_from: float
    certain_until: float
    latest: float


class Planning:
    """When slots could be planned."""

    def __init__(self, history: History) -> None:
        self._held = [
            Span(fault.began, fault.ended + RECOVERY[fault.kind])
            for fault in history.faults
            if fault.kind in RECOVERY
        ]
        self._within = history.planned_within
        self._spans = sorted(history.spans, key=lambda span: span.began)
        self._known: dict[float, float] = {}

    def done_by(self, slot: float) -> float:
        """Return when the slot must have been planned: after a stretch of undisturbed work."""
        if slot not in self._known:
            starts = [slot, *(s.began for s in self._spans), *(h.ended for h in self._held)]
            possible = [start for start in starts if start >= slot and self._undisturbed(start)]
            self._known[slot] = min(possible, default=inf) + self._within
        return self._known[slot]

    def prompt(self, slot: float) -> bool:
        """Return whether nothing stood in the way at the slot itself."""
        return self.done_by(slot) == slot + self._within

    def _undisturbed(self, start: float) -> bool:
        end = start + self._within
        alive = any(span.began <= start and end <= span.ended for span in self._spans)
        return alive and not any(held.began < end and start < held.ended for held in self._held)


class Walks:
    """Slots of expressions in zones, found minute by minute, to ten minutes past the end."""

    def __init__(self, began: float, stopped: float) -> None:
        self.until = stopped + 600
        self._after, self._until = _instant(began), _instant(self.until)
        self._moments: dict[str, list[Moment]] = {}
        self._slots: dict[tuple[str, str], list[float]] = {}

    def slots(self, cron: str, timezone: str) -> list[float]:
        """Return all slots of the drill, ascending."""
        key = (cron, timezone)
        if key not in self._slots:
            if timezone not in self._moments:
                self._moments[timezone] = moments(ZoneInfo(timezone), self._after, self._until)
            found = walk(cron, self._moments[timezone], self._after)
            self._slots[key] = [slot.timestamp() for slot in found]
        return self._slots[key]


def phases(changes: Sequence[Change]) -> list[Phase]:
    """Return the times in which a schedule was enabled, unchanged in what decides on its slots.

    A change of anything else, such as its payload, moves no slot.
    """
    found: list[Phase] = []
    current: Change | None = None
    for change in sorted(changes, key=lambda change: change.asked):
        before = current.row if current else None
        if before and change.row and before.timing == change.row.timing:
            continue
        if current and before and before.enabled:
            found.append(_phase(current, before, change.asked, change.answered))
        current = change
    if current and current.row and current.row.enabled:
        found.append(_phase(current, current.row, inf, inf))
    return found


def duties(
    history: History, changes: Sequence[Change], planning: Planning, walks: Walks
) -> dict[float, Duty]:
    """Return what is known of the slots of one schedule, up to the end of the drill."""
    known: dict[float, Duty] = {}
    for phase in phases(changes):
        for slot in walks.slots(phase.row.cron, phase.row.timezone):
            error = history.clock_error(slot)
            earliest, latest = phase.earliest - error, phase.latest + error
            if earliest < slot <= min(latest, history.stopped):
                duty = _duty(slot, phase, planning, history.stopped, error)
                known[slot] = max(duty, known.get(slot, Duty.MAY))
    return known


def _duty(slot: float, phase: Phase, planning: Planning, stopped: float, error: float) -> Duty:
    done_by = planning.done_by(slot)
    changing = slot <= phase.certain_from + error or done_by >= phase.certain_until - error
    if changing or done_by > stopped:
        return Duty.MAY
    return Duty.FIRE if planning.prompt(slot) else Duty.ACCOUNT


def _phase(change: Change, row: Row, until: float, latest: float) -> Phase:
    return Phase(row, change.asked, change.answered, until, latest)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
