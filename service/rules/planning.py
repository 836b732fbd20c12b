"""The decision on a due timer: the slot that fires, the number missed, the next due instant.

A timer is due at the start of its slot's run: the slot, or up to ``spread`` later.
"""

import zlib
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct

from service.rules import zones
from service.rules.cron import Cron, InvalidCronError, parse
from service.rules.slots import count_between, latest_slot, next_slot

ANY_LENGTH = 1_000_000
LATE_AFTER = timedelta(seconds=30)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SEARCHED_BACK = (timedelta(hours=1), timedelta(days=40), timedelta(days=366 * 9))
"""How far back a slot is searched, in steps; the 29th of February is at most eight years apart."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class PlanningRules(Struct, frozen=True):
    """When a due timer is late, and which missed slots are still fired."""

    late_after: timedelta = LATE_AFTER
    catchup_window: timedelta = timedelta(hours=1)
    """The age up to which the latest missed slot is still fired; 0 means never."""
    catchup_spread: timedelta = timedelta(seconds=30)
    spread: timedelta = timedelta(0)
    """The period over which the starts of one slot are spread."""


class DueDecision(Struct, frozen=True):
    """The decision on a due timer. ``slot`` is None when nothing fires.

    ``missed`` counts the slots that are neither fired now nor were before; ``following`` is the
    next due instant.
    """

    slot: datetime | None
    catchup: bool
    missed: int
    following: datetime


class UnplannableError(Exception):
    """The stored expression or zone is invalid; ``str()`` of it is the reason."""


class SlotCache:
    """Next slots by (expression, zone), each pair computed once until its next slot has passed.

    ``spread`` is the period over which the starts of one slot are spread. Not thread-safe. Raises
    UnplannableError for invalid stored values.
    """

    def __init__(self, size: int = 20_000, spread: timedelta = timedelta(0)) -> None:
        self._size = size
        self._spread = spread
        self._following: dict[tuple[str, str], tuple[datetime, datetime]] = {}
        self._due: dict[tuple[str, str], tuple[datetime, datetime]] = {}
        self._ahead: dict[tuple[str, str], tuple[datetime, datetime]] = {}
        self._decisions: dict[tuple[str, str, datetime, bool], tuple[datetime, DueDecision]] = {}

    def following(self, cron: str | None, timezone: str | None, now: datetime) -> datetime:
        """Return the first slot after now."""
        key = (cron or "", timezone or "UTC")
        known = self._following.get(key)
        if known is not None and known[0] <= now < known[1]:
            return known[1]
        slot = next_slot(*read(cron, timezone), now)
        self._keep(self._following, key, (now, slot))
        return slot

    def start(
        self, schedule_id: UUID, cron: str | None, timezone: str | None, slot: datetime
    ) -> datetime:
        """Return the instant at which a schedule's run of this slot starts."""
        if not self._spread:
            return slot
        _, following = self._around(self._ahead, cron or "", timezone or "UTC", slot)
        return start_of(schedule_id, slot, following, self._spread)

    def start_after(
        self, schedule_id: UUID, cron: str | None, timezone: str | None, now: datetime
    ) -> datetime:
        """Return the start of the first slot after now."""
        return self.start(schedule_id, cron, timezone, self.following(cron, timezone, now))

    def latest_start(self, cron: str, timezone: str, now: datetime) -> datetime:
        """Return the latest start of any schedule's run of the first slot after now."""
        slot = self.following(cron, timezone, now)
        if not self._spread:
            return slot
        _, following = self._around(self._ahead, cron, timezone, slot)
        return slot + longest_delay(slot, following, self._spread)

    def is_waiting(
        self, schedule_id: UUID, cron: str, timezone: str, due_at: datetime, now: datetime
    ) -> bool:
        """Return whether the slot of a timer has come, and its start, being spread, has not."""
        if not self._spread or due_at <= now:
            return False
        slot = self.slot_of(cron, timezone, due_at)
        return slot <= now and self.start(schedule_id, cron, timezone, slot) == due_at

    def slot_of(self, cron: str, timezone: str, due_at: datetime) -> datetime:
        """Return the slot whose run starts at ``due_at``: the latest one by then."""
        on_the_minute = not (due_at.second or due_at.microsecond)
        if on_the_minute and not self._spread:
            return due_at
        return self._around(self._due, cron, timezone, due_at)[0]

    def _around(
        self,
        cached: dict[tuple[str, str], tuple[datetime, datetime]],
        cron: str,
        timezone: str,
        instant: datetime,
    ) -> tuple[datetime, datetime]:
        """Return the latest slot at or before an instant, and the first one after it."""
        known = cached.get((cron, timezone))
        if known is None or not known[0] <= instant < known[1]:
            pair = read(cron, timezone)
            known = slot_by(*pair, instant), next_slot(*pair, instant)
            self._keep(cached, (cron, timezone), known)
        return known

    def evaluate_due(
        self, cron: str, timezone: str, due_at: datetime, now: datetime, rules: PlanningRules
    ) -> DueDecision:
        """Return the decision on a timer of this pair that is due since ``due_at``."""
        slot, late = self.slot_of(cron, timezone, due_at), now - due_at > rules.late_after
        key = (cron, timezone, slot, late)
        known = self._decisions.get(key)
        if known is not None and known[0] == now:
            return known[1]
        decision = evaluate_due(*read(cron, timezone), slot, now, rules, late=late)
        self._keep(self._decisions, key, (now, decision))
        return decision

    def _keep(self, cached: dict[_Key, _Value], key: _Key, value: _Value) -> None:
        if len(cached) >= self._size:
            cached.clear()
        cached[key] = value


def read(cron: str | None, timezone: str | None) -> tuple[Cron, ZoneInfo]:
    """Parse a stored pair, without the limits: what was accepted under earlier ones keeps firing.

    Raises UnplannableError.
    """
    zone = zones.load((timezone or "UTC").strip() or "UTC")
    if zone is None:
        raise UnplannableError("Invalid timezone")
    try:
        return parse(cron or "", min_interval_minutes=1, max_length=ANY_LENGTH), zone
    except InvalidCronError as error:
        raise UnplannableError(str(error)) from error


def is_slot(cron: str | None, timezone: str | None, instant: datetime) -> bool:
    """Return whether a stored pair fires at this instant; an invalid one never does."""
    try:
        return next_slot(*read(cron, timezone), instant - MINUTE) == instant
    except UnplannableError:
        return False


def evaluate_due(
    cron: Cron, zone: ZoneInfo, slot: datetime, now: datetime, rules: PlanningRules, *, late: bool
) -> DueDecision:
    """Return the decision on a timer whose run of ``slot`` was to start by now.

    Unless it is ``late``, or a further slot has passed, its slot fires. Otherwise it is a catch-up:
    only the latest slot fires, if it is within ``catchup_window``.
    """
    following = next_slot(cron, zone, now)
    latest = latest_slot(cron, zone, slot, now)
    if latest is None and not late:
        return DueDecision(slot=slot, catchup=False, missed=0, following=following)
    missed = 0
    if latest is not None:
        # The slots in [slot, latest) are as many as in (slot, latest].
        missed = count_between(cron, zone, slot, latest)
    slot = latest or slot
    if rules.catchup_window and now - slot <= rules.catchup_window:
        return DueDecision(slot=slot, catchup=True, missed=missed, following=following)
    return DueDecision(slot=None, catchup=False, missed=missed + 1, following=following)


def spread(schedule_id: UUID, over: timedelta) -> timedelta:
    """Return a share of ``over``, constant for a schedule: not all start at once."""
    return over * (zlib.crc32(schedule_id.bytes) / 2**32)


def start_of(schedule_id: UUID, slot: datetime, following: datetime, over: timedelta) -> datetime:
    """Return when a schedule's run of ``slot`` starts, spread over at most ``over``.

    A whole second, so that the starts of a second are planned together; always the same for a
    schedule whose slots are equally far apart. On a whole minute it is the slot itself: so a timer
    is told from a spread one, also after ``over`` was set to zero.
    """
    delay = spread(schedule_id, longest_delay(slot, following, over)) // SECOND * SECOND
    return slot + (delay - SECOND if delay and not delay % MINUTE else delay)


def longest_delay(slot: datetime, following: datetime, over: timedelta) -> timedelta:
    """Return the longest delay of a start: one that is a little late is not past the next slot."""
    return min(over, following - slot - LATE_AFTER)


def slot_of_timer(cron: str, timezone: str, due_at: datetime) -> datetime:
    """Return the slot of a timer that is due at this instant; the instant for an invalid pair."""
    try:
        return slot_by(*read(cron, timezone), due_at)
    except UnplannableError:
        return due_at


def slot_by(cron: Cron, zone: ZoneInfo, instant: datetime) -> datetime:
    """Return the latest slot at or before an instant; the instant itself where there is none."""
    for back in SEARCHED_BACK:
        slot = latest_slot(cron, zone, instant - back, instant)
        if slot is not None:
            return slot
    return instant
