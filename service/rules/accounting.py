"""What became of every slot of a schedule: run, missed, skipped, swallowed, or unaccounted for.

Works from what is on record (the schedule's states, switches, run records) and walks the cron
expression itself; timers, which the planner works by, are asked only for what still lies ahead.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal

from msgspec import Struct, field, structs

Slots = Callable[[str, str, datetime, datetime], Sequence[datetime]]
"""Returns the slots of (cron, timezone) in (after, until], ascending; none for an invalid pair."""
SwallowedBy = Literal["tenant_paused", "install_disabled", "schedule_disabled"]
Absence = Literal["created", "updated", "deleted", "driven_by_other"]
"""Why slots of an expression did not exist: before its creation or the update that set it, and so
on."""

FAR = datetime(9990, 1, 1, tzinfo=UTC)
OVERLAP = "overlap"


class StateSpan(Struct, frozen=True):
    """What a schedule was from ``since`` on; ``cron`` is None while it is not known.

    ``absence`` is why it has no slots then, None where it has.
    """

    since: datetime
    cron: str | None
    timezone: str | None
    enabled: bool = True
    absence: Absence | None = None


class Off(Struct, frozen=True):
    """A time within which something was switched off: ``since <= t < until``."""

    since: datetime
    until: datetime = FAR


class SlotRun(Struct, frozen=True):
    """A scheduled run: its slot, its status, why it was skipped, what slots it counts as missed."""

    slot: datetime
    status: str
    reason: str | None = None
    missed: int = 0


class RecordedTime(Struct, frozen=True, kw_only=True):
    """All that is on record of one schedule about the slots in (``after``, ``until``].

    ``states`` ascend, and the first began at or before ``after``; ``runs`` ascend by slot.
    ``later_run`` is the first run after the window, ``timer_due`` the slot of the timer. Either is
    None where there is none.
    """

    after: datetime
    until: datetime
    states: Sequence[StateSpan]
    paused: Sequence[Off] = ()
    install_off: Sequence[Off] = ()
    runs: Sequence[SlotRun] = ()
    later_run: SlotRun | None = None
    timer_due: datetime | None = None
    timer_missed: int = 0


class SlotCounts(Struct, kw_only=True):
    """How many slots there were, and what became of them; the parts add up to ``slots``.

    Slots are ``superseded`` where the schedule was changed before they were planned, and
    ``waiting`` where they are due and not planned yet. ``absent`` instants are not slots: they
    would be if the schedule had always been what it was at another time in the window.
    """

    slots: int = 0
    fired: int = 0
    missed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    swallowed: Counter[SwallowedBy] = field(default_factory=Counter)
    superseded: int = 0
    waiting: int = 0
    unaccounted: list[datetime] = field(default_factory=list)
    absent: Counter[Absence] = field(default_factory=Counter)

    @property
    def accounted(self) -> int:
        """Return the sum of the parts."""
        return (
            self.fired
            + self.missed
            + self.skipped.total()
            + self.swallowed.total()
            + self.superseded
            + self.waiting
            + len(self.unaccounted)
        )


class _Pending(Struct, frozen=True):
    """A slot without a run, and the state that it fell into; ``ends`` is the next change."""

    slot: datetime
    state: StateSpan
    ends: datetime


def account(recorded: RecordedTime, slots: Slots) -> SlotCounts:
    """Return what became of each slot of the window."""
    counts = SlotCounts()
    runs = {run.slot: run for run in recorded.runs}
    due = {each.slot: each for each in _slots(recorded, slots, counts)}
    pending: list[_Pending] = []
    # What has a run was a slot, whatever the states say: the clock may have been set back since.
    for slot in sorted(due.keys() | runs.keys()):
        counts.slots += 1
        run = runs.get(slot)
        if run is None:
            pending.append(due[slot])
            continue
        _settle(recorded, counts, pending, slot, run.missed)
        if run.status in {"skipped", "skipped_overlap"}:
            is_overlap = run.status == "skipped_overlap"
            counts.skipped[OVERLAP if is_overlap else run.reason or "unknown"] += 1
        else:
            counts.fired += 1
    _settle_rest(recorded, counts, pending)
    return counts


def _slots(recorded: RecordedTime, slots: Slots, counts: SlotCounts) -> list[_Pending]:
    """Return the slots of the window with the states that they fell into; count absent ones."""
    found: list[_Pending] = []
    with_run = {run.slot for run in recorded.runs}
    last = structs.replace(recorded.states[-1], since=FAR)
    for state, following in pairwise([*recorded.states, last]):
        ends = following.since
        after, until = max(state.since, recorded.after), min(ends, recorded.until)
        if after >= until or state.cron is None or state.timezone is None:
            continue
        of_state = slots(state.cron, state.timezone, after, until)
        if state.absence is not None:
            counts.absent[state.absence] += len(set(of_state) - with_run)
            continue
        found += [_Pending(slot, state, ends) for slot in of_state]
        cron, timezone = following.cron, following.timezone
        if (cron, timezone) != (state.cron, state.timezone) and cron and timezone:
            counts.absent["updated"] += len(slots(cron, timezone, after, until))
    return found


def _settle(
    recorded: RecordedTime,
    counts: SlotCounts,
    pending: list[_Pending],
    bound: datetime,
    missed: int,
) -> None:
    """Account for the pending slots, which lie before ``bound``, the slot of the next run.

    That run recorded how many of them were ``missed``. These are the latest enabled ones, because
    the timer moved past them last. The planner had looked at the others before ``bound``, so what
    was switched off or changed by then explains each of them.
    """
    for slot in reversed(pending):
        if missed and slot.state.enabled:
            counts.missed += 1
            missed -= 1
        else:
            _explain(recorded, counts, slot, bound)
    pending.clear()


def _settle_rest(recorded: RecordedTime, counts: SlotCounts, pending: list[_Pending]) -> None:
    """Account for the slots after the last run of the window."""
    due, later = recorded.timer_due, recorded.later_run
    if later is not None:
        _settle(recorded, counts, pending, later.slot, later.missed)
        return
    if due is not None:
        waiting = [slot for slot in pending if slot.slot >= due and slot.ends == FAR]
        counts.waiting += len(waiting)
        pending[:] = [slot for slot in pending if slot not in waiting]
    _settle(recorded, counts, pending, FAR, recorded.timer_missed)


def _explain(
    recorded: RecordedTime, counts: SlotCounts, pending: _Pending, bound: datetime
) -> None:
    slot = pending.slot
    switched_off: Mapping[SwallowedBy, Sequence[Off]] = {
        "tenant_paused": recorded.paused,
        "install_disabled": recorded.install_off,
    }
    if not pending.state.enabled:
        counts.swallowed["schedule_disabled"] += 1
        return
    for cause, times in switched_off.items():
        if any(off.since < bound and slot < off.until for off in times):
            counts.swallowed[cause] += 1
            return
    if pending.ends <= bound and pending.ends != FAR:
        counts.superseded += 1
    else:
        counts.unaccounted.append(slot)
