"""The states of a schedule over time, from its row and its audit entries."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct, structs

from service.rules.accounting import FAR, Absence, Off, StateSpan

CREATED_WITH = frozenset({"endpoint", "cron", "timezone", "enabled", "name", "payload"})
"""What the entry of a creation describes; an update describes what it was given."""


class StateValues(Struct, frozen=True):
    """What slots depend on; None where it is not known, or (in a change) not changed.

    ``ours`` is False while another job runner drives the schedule.
    """

    cron: str | None = None
    timezone: str | None = None
    enabled: bool | None = None
    ours: bool | None = None

    def then(self, change: "StateValues") -> "StateValues":
        """Return the values after a change."""
        given = {name: value for name, value in structs.asdict(change).items() if value is not None}
        return structs.replace(self, **given)


class StateChange(Struct, frozen=True):
    """What an audit entry says about a schedule; ``creates`` where it may be its creation."""

    at: datetime
    values: StateValues
    creates: bool = False


def read_change(
    at: datetime, schedule_id: UUID, of_schedule: bool, changes: Mapping[str, Any]
) -> StateChange | None:
    """Return what an entry, ``of_schedule`` or of its install, says about it; None for nothing."""
    if not of_schedule:
        id_ = str(schedule_id)
        found = {
            name
            for name in ("disabled", "reenabled", "adopted", "released", "created")
            if isinstance(changes.get(name), list) and id_ in changes[name]
        }
        if not found:
            return None
        enabled = False if "disabled" in found else True if "reenabled" in found else None
        ours = False if "released" in found else True if "adopted" in found else None
        return StateChange(at, StateValues(None, None, enabled, ours), "created" in found)
    values = StateValues(
        cron=_text(changes.get("cron")),
        timezone=_text(changes.get("timezone")),
        enabled=_switched(changes.get("enabled")),
        ours=True if "formerJobId" in changes else None,
    )
    creates = changes.keys() >= CREATED_WITH
    return StateChange(at, values, creates) if creates or values != StateValues() else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _switched(value: object) -> bool | None:
    match value:
        case bool(now) | [*_, bool(now)]:  # (old, new), as the service itself writes it
            return now
    return None


class History(Struct, frozen=True, kw_only=True):
    """What is on record of a schedule's states in a window and later.

    ``now`` is what it is, or was when deleted; ``earlier`` what older entries say; ``changes``
    ascend. ``first_run`` is the first slot of the window that has a run, else the window's end.
    """

    now: StateValues
    earlier: StateValues
    changes: Sequence[StateChange]
    created_at: datetime | None
    deleted_at: datetime | None
    first_run: datetime


def states(after: datetime, history: History) -> list[StateSpan]:
    """Return the states from ``after`` on, ascending."""
    if history.deleted_at is None:
        history = structs.replace(history, changes=_that_came_last(history.changes, history.now))
    created_at = _created_at(after, history)
    values = _initial(history)
    found: list[StateSpan] = []
    later = list(history.changes)
    if created_at is not None:
        for change in history.changes:
            if change.at <= created_at:
                values = values.then(change.values)
        later = [change for change in history.changes if change.at > created_at]
        found.append(_span(after, values, "created"))
    found.append(_span(created_at or after, values, None))
    for change in later:
        values = values.then(change.values)
        span = _span(change.at, values, None)
        if structs.replace(span, since=found[-1].since) != found[-1]:
            found.append(span)
    if history.deleted_at is not None:
        # Nothing came after it: what has a later time is of before the clock was set back.
        found = [span for span in found if span.since < history.deleted_at]
        found.append(_span(history.deleted_at, values, "deleted"))
    return found


def _that_came_last(changes: Sequence[StateChange], now: StateValues) -> list[StateChange]:
    """Return the changes without what an entry of an earlier time has changed again.

    The database's clock was set back in between: the entry that says what is now came last.
    """
    kept = list(changes)
    for name in StateValues.__struct_fields__:
        present = getattr(now, name)
        given = [
            index for index, change in enumerate(kept) if getattr(change.values, name) is not None
        ]
        agreeing = [index for index in given if getattr(kept[index].values, name) == present]
        if agreeing:
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
        return creation if history.earlier == StateValues() else None
    if history.created_at is None or history.created_at <= after:
        return None
    return creation or max(history.created_at, history.first_run - timedelta(minutes=1))


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


def switches_that_came_last(
    switches: Sequence[tuple[datetime, bool]], is_off: bool
) -> list[tuple[datetime, bool]]:
    """Return the switches (when, whether off) without those that one of an earlier time undid.

    The database's clock was set back in between: the one that says what is now came last.
    """
    agreeing = [index for index, (_, off) in enumerate(switches) if off == is_off]
    return list(switches[: agreeing[-1] + 1] if agreeing else switches)


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
