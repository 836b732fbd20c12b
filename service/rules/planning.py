"""The decision on a due timer: the slot that fires, the number missed, the next due instant."""

import zlib
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct

from service.rules import zones
from service.rules.cron import Cron, InvalidCronError, parse
from service.rules.slots import count_between, latest_slot, next_slot

ANY_LENGTH = 1_000_000


class PlanningRules(Struct, frozen=True):
    """When a due timer is late, and which missed slots are still fired."""

    late_after: timedelta = timedelta(seconds=30)
    catchup_window: timedelta = timedelta(hours=1)
    """The age up to which the latest missed slot is still fired; 0 means never."""
    catchup_spread: timedelta = timedelta(seconds=30)


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

    Not thread-safe. Raises UnplannableError for invalid stored values.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._following: dict[tuple[str, str], tuple[datetime, datetime]] = {}
        self._decisions: dict[tuple[str, str, datetime], tuple[datetime, DueDecision]] = {}

    def following(self, cron: str | None, timezone: str | None, now: datetime) -> datetime:
        """Return the first slot after now."""
        key = (cron or "", timezone or "UTC")
        known = self._following.get(key)
        if known is not None and known[0] <= now < known[1]:
            return known[1]
        slot = next_slot(*read(cron, timezone), now)
        if len(self._following) >= self._size:
            self._following.clear()
        self._following[key] = (now, slot)
        return slot

    def evaluate_due(
        self, cron: str, timezone: str, due_at: datetime, now: datetime, rules: PlanningRules
    ) -> DueDecision:
        """Return the decision on a timer of this pair that is due since ``due_at``."""
        key = (cron, timezone, due_at)
        known = self._decisions.get(key)
        if known is not None and known[0] == now:
            return known[1]
        decision = evaluate_due(*read(cron, timezone), due_at, now, rules)
        if len(self._decisions) >= self._size:
            self._decisions.clear()
        self._decisions[key] = (now, decision)
        return decision


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
        return next_slot(*read(cron, timezone), instant - timedelta(seconds=1)) == instant
    except UnplannableError:
        return False


def evaluate_due(
    cron: Cron, zone: ZoneInfo, due_at: datetime, now: datetime, rules: PlanningRules
) -> DueDecision:
    """Return the decision on a due timer.

    Up to ``late_after`` late, and with no further slot passed, its slot fires. Otherwise it is a
    catch-up: only the latest slot fires, if it is within ``catchup_window``.
    """
    following = next_slot(cron, zone, now)
    latest = latest_slot(cron, zone, due_at, now)
    if latest is None and now - due_at <= rules.late_after:
        return DueDecision(slot=due_at, catchup=False, missed=0, following=following)
    missed = 0
    if latest is not None:
        # The slots in [due_at, latest) are as many as in (due_at, latest].
        missed = count_between(cron, zone, due_at, latest)
    slot = latest or due_at
    if rules.catchup_window and now - slot <= rules.catchup_window:
        return DueDecision(slot=slot, catchup=True, missed=missed, following=following)
    return DueDecision(slot=None, catchup=False, missed=missed + 1, following=following)


def spread(schedule_id: UUID, over: timedelta) -> timedelta:
    """Return a share of ``over``, constant for a schedule: catch-ups do not fire all at once."""
    return over * (zlib.crc32(schedule_id.bytes) / 2**32)
