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


class Stretch(Struct, frozen=True, kw_only=True):
    """What was so while the clock of the database went from ``after`` to ``until``.

    ``states`` ascend, and the first began at or before ``after``. A planner came to each slot in
    (``after``, ``until``] then.
    """

    after: datetime
    until: datetime
    states: Sequence[StateSpan]
    paused: Sequence[Off] = ()
    install_off: Sequence[Off] = ()


class RecordedTime(Struct, frozen=True, kw_only=True):
    """All that is on record of one schedule about the slots in (``after``, ``until``].

    There are as many ``stretches`` as the clock was set back, and one. Together they cover all of
    the time, some of it again. ``runs`` ascend by slot. ``later_run`` is the first run after the
    window, ``timer_due`` the slot of the timer. Either is None where there is none.
    """

    after: datetime
    until: datetime
    stretches: Sequence[Stretch]
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
    """A slot, and the state that it fell into in a stretch; ``ends`` is the next change."""

    slot: datetime
    state: StateSpan
    ends: datetime
    stretch: Stretch


def account(recorded: RecordedTime, slots: Slots) -> SlotCounts:
    """Return what became of each slot of the window."""
    counts = SlotCounts()
    runs = {run.slot: run for run in recorded.runs}
    due = _due(recorded, slots, counts)
    pending: list[list[_Pending]] = []
    # What has a run was a slot, whatever the states say: the clock may have been set back since.
    for slot in sorted(due.keys() | runs.keys()):
        counts.slots += 1
        run = runs.get(slot)
        if run is None:
            if recorded.timer_due and slot >= recorded.timer_due and due[slot][-1].ends == FAR:
                counts.waiting += 1
            else:
                pending.append(due[slot])
            continue
        _settle(counts, pending, slot, run.missed)
        if run.status in {"skipped", "skipped_overlap"}:
            is_overlap = run.status == "skipped_overlap"
            counts.skipped[OVERLAP if is_overlap else run.reason or "unknown"] += 1
        else:
            counts.fired += 1
    later = recorded.later_run
    if later is None:
        _settle(counts, pending, FAR, recorded.timer_missed)
    else:
        _settle(counts, pending, later.slot, later.missed)
    return counts


def _due(
    recorded: RecordedTime, slots: Slots, counts: SlotCounts
) -> dict[datetime, list[_Pending]]:
    """Return the slots of the window, each as often as the clock came to it; count absent ones."""
    found: dict[datetime, list[_Pending]] = {}
    absent: dict[datetime, Absence] = {}
    for stretch in recorded.stretches:
        last = structs.replace(stretch.states[-1], since=stretch.until)
        for state, following in pairwise([*stretch.states, last]):
            after = max(state.since, stretch.after, recorded.after)
            until = min(following.since, stretch.until, recorded.until)
            if after >= until or state.cron is None or state.timezone is None:
                continue
            of_state = slots(state.cron, state.timezone, after, until)
            if state.absence is not None:
                absent |= dict.fromkeys(of_state, state.absence)
                continue
            for slot in of_state:
                each = _Pending(slot, state, following.since, stretch)
                found.setdefault(slot, []).append(each)
            cron, timezone = following.cron, following.timezone
            if (cron, timezone) != (state.cron, state.timezone) and cron and timezone:
                counts.absent["updated"] += len(slots(cron, timezone, after, until))
    counts.absent.update(
        absent[slot] for slot in absent.keys() - found.keys() - {run.slot for run in recorded.runs}
    )
    return found


def _settle(
    counts: SlotCounts, pending: list[list[_Pending]], bound: datetime, missed: int
) -> None:
    """Account for the pending slots, which lie before ``bound``, the slot of the next run.

    That run recorded how many of them were ``missed``. These are the latest enabled ones, because
    the timer moved past them last. The planner had looked at the others before ``bound``, so what
    was switched off or changed by then explains each of them.
    """
    for times in reversed(pending):
        if missed and any(each.state.enabled for each in times):
            counts.missed += 1
            missed -= 1
        else:
            _explain(counts, times, bound)
    pending.clear()
    # Counted before the clock was set back: some of what lay between has its run since.
    while missed and counts.unaccounted:
        counts.unaccounted.pop()
        counts.missed += 1
        missed -= 1


def _explain(counts: SlotCounts, times: Sequence[_Pending], bound: datetime) -> None:
    """Account for a slot that the clock came to once or several times: each has to be explained."""
    causes = [_cause(each, bound) for each in times]
    last = causes[-1]
    if None in causes or last is None:
        counts.unaccounted.append(times[0].slot)
    elif last == "superseded":
        counts.superseded += 1
    else:
        counts.swallowed[last] += 1


def _cause(pending: _Pending, bound: datetime) -> SwallowedBy | Literal["superseded"] | None:
    """Return why a slot has no run; None if it is to have one."""
    if not pending.state.enabled:
        return "schedule_disabled"
    switched_off: Mapping[SwallowedBy, Sequence[Off]] = {
        "tenant_paused": pending.stretch.paused,
        "install_disabled": pending.stretch.install_off,
    }
    for cause, times in switched_off.items():
        if any(off.since < bound and pending.slot < off.until for off in times):
            return cause
    return "superseded" if pending.ends <= bound and pending.ends != FAR else None
