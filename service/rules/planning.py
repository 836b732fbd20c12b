"""What becomes of a due timer: which slot fires, how many count as missed, when the next is due."""

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
    """When a due timer is late, and what of the past is still fired."""

    late_after: timedelta = timedelta(seconds=30)
    catchup_window: timedelta = timedelta(hours=1)
    """How old the latest missed slot may be to be fired still; 0 means never."""
    catchup_spread: timedelta = timedelta(seconds=30)


class DueDecision(Struct, frozen=True):
    """What a due timer comes to. ``slot`` is None where nothing fires.

    ``missed`` are slots that are neither fired now nor were before; ``following`` is when the
    timer is due next.
    """

    slot: datetime | None
    catchup: bool
    missed: int
    following: datetime


class UnplannableError(Exception):
    """The row's expression or zone means nothing; ``str()`` of it says which and why."""


class SlotCache:
    """Slots of expressions in zones, each pair computed once until its next slot has come.

    Not for several threads. Raises UnplannableError for what others wrote into the rows.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._following: dict[tuple[str, str], tuple[datetime, datetime]] = {}
        self._decisions: dict[tuple[str, str, datetime], tuple[datetime, DueDecision]] = {}

    def following(self, cron: str | None, timezone: str | None, now: datetime) -> datetime:
        """The first slot after now."""
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
        """What becomes of a timer of this pair that is due since ``due_at``."""
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
    """Read a stored pair. Limits of today do not stop what was accepted before.

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
    """Whether a stored pair fires at this instant; one that means nothing never does."""
    try:
        return next_slot(*read(cron, timezone), instant - timedelta(seconds=1)) == instant
    except UnplannableError:
        return False


def evaluate_due(
    cron: Cron, zone: ZoneInfo, due_at: datetime, now: datetime, rules: PlanningRules
) -> DueDecision:
    """What becomes of a due timer.

    Up to ``late_after`` late, and with no further slot gone by, it fires as it should. Otherwise
    it is catch-up: the latest slot alone, if it is young enough.
    """
    following = next_slot(cron, zone, now)
    latest = latest_slot(cron, zone, due_at, now)
    if latest is None and now - due_at <= rules.late_after:
        return DueDecision(slot=due_at, catchup=False, missed=0, following=following)
    missed = 0
    if latest is not None:
        # Those in [due_at, latest): as many as in (due_at, latest].
        missed = count_between(cron, zone, due_at, latest)
    slot = latest or due_at
    if rules.catchup_window and now - slot <= rules.catchup_window:
        return DueDecision(slot=slot, catchup=True, missed=missed, following=following)
    return DueDecision(slot=None, catchup=False, missed=missed + 1, following=following)


def spread(schedule_id: UUID, over: timedelta) -> timedelta:
    """A share of ``over`` that is always the same for a schedule: catch-up is no stampede."""
    return over * (zlib.crc32(schedule_id.bytes) / 2**32)
