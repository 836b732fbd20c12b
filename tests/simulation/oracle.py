"""What must become of each slot, found by walking over every minute: no code of the planner.

The walk goes from where a schedule was looked at last to the clock of now, each time that the
workers have nothing left to do.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from tests.support.slot_walk import Moment, moments, walk

ON_TIME = timedelta(seconds=30)
CATCH_UP = timedelta(hours=1)
CHUNK = timedelta(days=2)
MOST_WALKED = 60
"""How many chunks of zones are kept for further expressions."""


class Fate(StrEnum):
    """What became of slots; each slot is counted once."""

    FIRED = "fired on time"
    CAUGHT_UP = "fired late, as the latest of an outage"
    MISSED = "counted as missed"
    SWALLOWED = "passed during a pause or while the install was disabled"
    EITHER = "fired or counted as missed, while a worker stood still"
    IN_DOUBT = "due and not yet planned at the moment of a change"


class SlotTable:
    """The slots of expressions in zones, walked as far as they are asked for."""

    def __init__(self, began: datetime, zone: Callable[[str], ZoneInfo]) -> None:
        self._began = began.replace(hour=0, minute=0, second=0, microsecond=0)
        self._zone = zone
        self._walked: dict[tuple[str, int], list[Moment]] = {}
        self._slots: dict[tuple[str, str], list[datetime]] = {}
        self._until: dict[tuple[str, str], int] = {}

    def between(self, cron: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
        """Return the slots in (after, until]."""
        slots = self._extended(cron, zone, until)
        return slots[bisect_right(slots, after) : bisect_right(slots, until)]

    def following(self, cron: str, zone: str, after: datetime) -> datetime:
        """Return the first slot after an instant."""
        until = after
        while True:
            until += CHUNK
            slots = self._extended(cron, zone, until)
            place = bisect_right(slots, after)
            if place < len(slots):
                return slots[place]

    def _extended(self, cron: str, zone: str, until: datetime) -> list[datetime]:
        key = (cron, zone)
        slots = self._slots.setdefault(key, [])
        while self._began + self._until.get(key, 0) * CHUNK < until:
            number = self._until.get(key, 0)
            begin = self._began + number * CHUNK
            slots += walk(cron, self._moments(zone, number), begin)
            self._until[key] = number + 1
        return slots

    def _moments(self, zone: str, number: int) -> list[Moment]:
        if (zone, number) not in self._walked:
            if len(self._walked) > MOST_WALKED:
                self._walked.clear()
            begin = self._began + number * CHUNK
            self._walked[zone, number] = moments(self._zone(zone), begin, begin + CHUNK)
        return self._walked[zone, number]


class Expectation(Struct):
    """What one schedule's runs and missed counts have to be.

    ``must`` are slots with a run of this trigger (None for any), ``may`` those that can have one.
    Of each of ``groups`` every slot has a run or is counted as missed. ``missed`` and ``least`` are
    the bounds of the other counts, ``carried`` what the timer carries at most.
    """

    number: int
    tenant_id: str
    install_id: UUID
    cron: str
    timezone: str
    path: str
    walked: datetime
    enabled: bool = True
    deleted: bool = False
    marked: bool = False
    """Whether an update of the install disabled it, for lack of its endpoint."""
    must: dict[datetime, str | None] = field(default_factory=dict)
    may: set[datetime] = field(default_factory=set)
    groups: list[list[datetime]] = field(default_factory=list)
    stepped_back: bool = False
    missed: int = 0
    least: int = 0
    carried: int = 0
    undecided: int = 0
    """What may not be told of any more."""

    def restart(self, now: datetime) -> None:
        """Begin again from now, with a new timer: what the old one carried is not told of."""
        self.undecided += self.carried
        self.carried = 0
        self.walked = now

    def miss(self, count: int) -> None:
        """Expect that many slots to be counted as missed."""
        self.missed += count
        self.least += count
        self.carried += count


class Oracle:
    """All schedules, installs and tenants of a simulation, as they have to be."""

    def __init__(self, slots: SlotTable) -> None:
        self.slots = slots
        self.schedules: dict[UUID, Expectation] = {}
        self.paused: set[str] = set()
        self.disabled: set[UUID] = set()
        self.fates: Counter[Fate] = Counter()

    @property
    def fired(self) -> int:
        """Return how many slots had to be fired."""
        return self.fates[Fate.FIRED] + self.fates[Fate.CAUGHT_UP]

    def fires(self, schedule: Expectation) -> bool:
        """Return whether its slots are fired now."""
        return (
            schedule.enabled
            and not schedule.deleted
            and schedule.tenant_id not in self.paused
            and schedule.install_id not in self.disabled
        )

    def runs_by_hand(self, schedule: Expectation) -> bool:
        """Return whether manual runs of it are called now: for a disabled one, too."""
        return (
            not schedule.deleted
            and schedule.tenant_id not in self.paused
            and schedule.install_id not in self.disabled
        )

    def ahead(self, now: datetime) -> bool:
        """Return whether the clock was later than now once."""
        return any(schedule.walked > now for schedule in self._timed())

    def _timed(self) -> list[Expectation]:
        return [each for each in self.schedules.values() if each.enabled and not each.deleted]

    def settle(self, now: datetime, timers: dict[UUID, datetime], *, exact: bool) -> None:
        """Decide what was due until now; not ``exact`` where a worker stood still meanwhile.

        ``timers`` tell which schedules go on from now after the clock was ahead.
        """
        for id_, schedule in self.schedules.items():
            if not schedule.enabled or schedule.deleted:
                continue
            if schedule.walked > now:
                if timers[id_] == self.slots.following(schedule.cron, schedule.timezone, now):
                    schedule.walked = now
            elif schedule.walked < now:
                due = self.slots.between(schedule.cron, schedule.timezone, schedule.walked, now)
                if due:
                    self._decide(schedule, due, now, exact=exact)
                schedule.walked = now

    def step_back(self, now: datetime) -> None:
        """Expect that slots after now come up once more, where the timers are computed again."""
        for schedule in self._timed():
            if schedule.walked > now:
                again = self.slots.between(schedule.cron, schedule.timezone, now, schedule.walked)
                schedule.may.update(slot for slot in again if slot not in schedule.must)
                schedule.missed += len(again)
                schedule.carried += len(again)
                schedule.stepped_back = True

    def _decide(
        self, schedule: Expectation, due: list[datetime], now: datetime, *, exact: bool
    ) -> None:
        if not self.fires(schedule):
            self.fates[Fate.SWALLOWED] += len(due)
            return
        if not exact:
            self.fates[Fate.EITHER] += len(due)
            schedule.groups.append(due)
            schedule.carried += len(due)
            return
        latest, late = due[-1], now - due[-1]
        if len(due) == 1 and late <= ON_TIME:
            self._fire(schedule, latest, "schedule", Fate.FIRED)
            return
        within = late <= CATCH_UP
        schedule.miss(len(due) - within)
        self.fates[Fate.MISSED] += len(due) - within
        if within:
            self._fire(schedule, latest, "catchup", Fate.CAUGHT_UP)

    def _fire(self, schedule: Expectation, slot: datetime, trigger: str, fate: Fate) -> None:
        if slot in schedule.must or slot in schedule.may:
            schedule.must[slot] = None  # the clock was here before
            return
        schedule.must[slot] = trigger
        if not any(slot in group for group in schedule.groups):
            schedule.carried = 0
            self.fates[fate] += 1

    def change_zones(self, now: datetime) -> None:
        """Go on from now by other slots."""
        for schedule in self._timed():
            schedule.walked = now

    def doubt(self, schedule: Expectation, now: datetime) -> None:
        """Expect anything of what is due at the moment of a change."""
        if schedule.walked >= now or schedule.deleted or not schedule.enabled:
            return
        due = self.slots.between(schedule.cron, schedule.timezone, schedule.walked, now)
        schedule.walked = now
        if not self.fires(schedule):
            self.fates[Fate.SWALLOWED] += len(due)
            return
        schedule.may.update(slot for slot in due if slot not in schedule.must)
        schedule.missed += len(due)
        schedule.carried += len(due)
        self.fates[Fate.IN_DOUBT] += len(due)
