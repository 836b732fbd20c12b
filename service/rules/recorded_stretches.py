"""What was so of a schedule over time, from its row and its audit entries."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct, structs

from service.rules.accounting import FAR, Absence, Off, StateSpan, Stretch
from service.rules.recorded_states import StateChange, StateValues


class History(Struct, frozen=True, kw_only=True):
    """What is on record of a schedule, its install and its tenant.

    ``now`` is what it is, or was when deleted. ``changes`` are those in a window, later, and for a
    while before, in the order of their commits; ``earlier`` is what older entries say.
    ``first_run`` is the first slot of the window that has a run, else the window's end.
    """

    now: StateValues
    earlier: StateValues
    changes: Sequence[StateChange]
    created_at: datetime | None
    deleted_at: datetime | None
    first_run: datetime


class _Event(Struct, frozen=True):
    """A change; ``absence`` is why there are no slots from then on, None where there are.

    ``renews`` the timer: it is computed again from then on, or removed.
    """

    at: datetime
    values: StateValues = StateValues()
    absence: Absence | None = None
    renews: bool = True


def stretches(after: datetime, history: History) -> list[Stretch]:
    """Return what was so from ``after`` on until the clock was set back, and since, each time.

    That it was set back shows in a change of an earlier time than the one before. How far it had
    come by then is not on record, so a stretch ends with its last change. The next begins where the
    timer was computed again: until then it was beyond all that the clock had shown.
    """
    if history.deleted_at is None:
        history = structs.replace(history, changes=_that_came_last(history.changes, history.now))
    created_at = _created_at(after, history)
    of_creation = 0 if created_at is None else _count_of_creation(history.changes, created_at)
    values = _initial(history)
    for change in history.changes[:of_creation]:
        values = values.then(change.values)
    absence: Absence | None = None if created_at is None else "created"
    events = [] if created_at is None else [_Event(created_at)]
    later = history.changes[of_creation:]
    events += [_Event(each.at, each.values, renews=each.renews_timer) for each in later]
    if history.deleted_at is not None:
        events.append(_Event(history.deleted_at, absence="deleted"))
    found: list[Stretch] = []
    shown = after
    for part in _ascending(events):
        renewed = next((event.at for event in part if event.renews), shown)
        begins = min(shown, renewed) if found else after
        found.append(_stretch(begins, part, values, absence))
        for event in part:
            values, absence = values.then(event.values), event.absence
        shown = max(shown, found[-1].until)
    found[-1] = structs.replace(found[-1], until=FAR)
    return found


def _ascending(events: Sequence[_Event]) -> list[list[_Event]]:
    """Return the events in parts whose times ascend: one part unless the clock was set back."""
    parts: list[list[_Event]] = [[]]
    for event in events:
        if parts[-1] and event.at < parts[-1][-1].at:
            parts.append([])
        parts[-1].append(event)
    return parts


def _stretch(
    begins: datetime, events: Sequence[_Event], values: StateValues, absence: Absence | None
) -> Stretch:
    """Return the stretch of these events, before which the ``values`` held."""
    before = values
    since = min([begins, *(event.at for event in events[:1])])
    found = [_span(since, values, absence)]
    for event in events:
        values = values.then(event.values)
        span = _span(event.at, values, event.absence)
        if structs.replace(span, since=found[-1].since) != found[-1]:
            found.append(span)
    paused = [(each.at, off) for each in events if (off := each.values.paused) is not None]
    switches = [(each.at, off) for each in events if (off := each.values.install_off) is not None]
    return Stretch(
        after=begins,
        until=events[-1].at if events else FAR,
        states=found,
        paused=times_off(paused, off_at_start=before.paused is True, start=since),
        install_off=times_off(switches, off_at_start=before.install_off is True, start=since),
    )


def _that_came_last(changes: Sequence[StateChange], now: StateValues) -> list[StateChange]:
    """Return the changes without what an entry of an earlier time has changed again.

    Of entries without numbers: the database's clock was set back in between, and the one that says
    what is now came last.
    """
    kept = list(changes)
    for name in StateValues.__struct_fields__:
        present = getattr(now, name)
        given = [
            index for index, change in enumerate(kept) if getattr(change.values, name) is not None
        ]
        agreeing = [index for index in given if getattr(kept[index].values, name) == present]
        if agreeing and not kept[given[-1]].sequence:
            for index in given[given.index(agreeing[-1]) + 1 :]:
                values = structs.replace(kept[index].values, **{name: None})
                kept[index] = structs.replace(kept[index], values=values)
    return kept


def _created_at(after: datetime, history: History) -> datetime | None:
    """Return when the schedule was created within the window, None where it was before.

    A row that another program made gets its timer when it is found: it begins with its first run.
    """
    creation = next((change.at for change in history.changes if change.creates), None)
    if history.deleted_at is not None:
        earlier = structs.replace(history.earlier, paused=None, install_off=None)
        return creation if earlier == StateValues() else None
    if history.created_at is None or history.created_at <= after:
        return None
    return creation or max(history.created_at, history.first_run - timedelta(minutes=1))


def _count_of_creation(changes: Sequence[StateChange], created_at: datetime) -> int:
    """Return how many of the first changes came before the creation, or with it."""
    count = next((number for number, each in enumerate(changes, start=1) if each.creates), 0)
    while count < len(changes) and changes[count].at <= created_at:
        if count and changes[count].at < changes[count - 1].at:
            break  # the clock was set back since
        count += 1
    return count


def _initial(history: History) -> StateValues:
    """Return the values before the changes.

    What no change touches was as it is now; of ``enabled`` and ``ours`` the first change itself
    tells what they were.
    """
    known = {}
    for name in StateValues.__struct_fields__:
        changed = [
            value
            for change in history.changes
            if (value := getattr(change.values, name)) is not None
        ]
        known[name] = getattr(history.earlier if changed else history.now, name)
        if changed and known[name] is None and name in {"enabled", "ours"}:
            known[name] = not changed[0]
    return StateValues(**known)


def _span(since: datetime, values: StateValues, absence: Absence | None) -> StateSpan:
    if absence is None and values.ours is False:
        absence = "driven_by_other"
    return StateSpan(since, values.cron, values.timezone, values.enabled is not False, absence)


def times_off(
    switches: Sequence[tuple[datetime, bool]], *, off_at_start: bool, start: datetime
) -> list[Off]:
    """Return the times within which something was off, by its switches (when, whether off)."""
    found: list[Off] = []
    since = start if off_at_start else None
    for at, is_off in switches:
        if is_off and since is None:
            since = at
        elif not is_off and since is not None:
            found.append(Off(since, at))
            since = None
    if since is not None:
        found.append(Off(since, FAR))
    return found
