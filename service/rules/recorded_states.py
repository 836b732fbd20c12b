"""What audit entries say about a schedule, and in which order."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, structs

CREATED_WITH = frozenset({"endpoint", "cron", "timezone", "enabled", "name", "payload"})
"""What the entry of a creation describes; an update describes what it was given."""


class StateValues(Struct, frozen=True):
    """What slots depend on; None where it is not known, or (in a change) not changed.

    ``ours`` is False while another job runner drives the schedule, ``paused`` is of its tenant, and
    ``install_off`` of its install.
    """

    cron: str | None = None
    timezone: str | None = None
    enabled: bool | None = None
    ours: bool | None = None
    paused: bool | None = None
    install_off: bool | None = None

    def then(self, change: "StateValues") -> "StateValues":
        """Return the values after a change."""
        given = {name: value for name, value in structs.asdict(change).items() if value is not None}
        return structs.replace(self, **given)


class StateChange(Struct, frozen=True):
    """What an audit entry says about a schedule; ``creates`` where it may be its creation.

    ``sequence`` is the entry's number, by which entries about one thing are in the order of their
    commits; 0 for those of before there were numbers.
    """

    at: datetime
    values: StateValues
    creates: bool = False
    sequence: int = 0

    @property
    def renews_timer(self) -> bool:
        """Return whether the timer was computed again, or removed: all but what switches off."""
        values = structs.replace(self.values, paused=None, install_off=None)
        switched_on = self.values.paused is False or self.values.install_off is False
        return switched_on or values != StateValues()


def in_order(changes: Iterable[StateChange]) -> list[StateChange]:
    """Return changes in the order of their commits, as far as that is on record.

    Those without a number came before, in the order of their instants, a creation first.
    """
    return sorted(changes, key=lambda change: (change.sequence, change.at, not change.creates))


def read_change(
    at: datetime,
    schedule_id: UUID,
    of_schedule: bool,
    changes: Mapping[str, Any],
    sequence: int = 0,
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
        values = StateValues(enabled=enabled, ours=ours)
        return StateChange(at, values, "created" in found, sequence)
    values = StateValues(
        cron=_text(changes.get("cron")),
        timezone=_text(changes.get("timezone")),
        enabled=_switched(changes.get("enabled")),
        ours=True if "formerJobId" in changes else None,
    )
    creates = changes.keys() >= CREATED_WITH
    if not creates and values == StateValues():
        return None
    return StateChange(at, values, creates, sequence)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _switched(value: object) -> bool | None:
    match value:
        case bool(now) | [*_, bool(now)]:  # (old, new), as the service itself writes it
            return now
    return None
