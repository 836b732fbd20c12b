"""Which limits of an install are used up. None of them keeps a schedule from firing."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from service.rules.explanation import UsedLimit
from service.rules.limits import Limits, check_rate

Usage = tuple[int, Sequence[datetime], Sequence[datetime]]
"""Schedules of the install; instants of its changes, and of the tenant's manual runs."""


def used_limits(limits: Limits, usage: Usage, now: datetime) -> list[UsedLimit]:
    """Return the limits that refuse the next schedule, change or manual run."""
    return list(_used(limits, usage, now))


def _used(limits: Limits, usage: Usage, now: datetime) -> Iterator[UsedLimit]:
    schedules, changes, manual_runs = usage
    if schedules >= limits.max_schedules:
        yield UsedLimit(
            "quota_used",
            f"The install has {schedules} of {limits.max_schedules} schedules: another one is"
            " refused, and those that are there go on firing",
            "Delete schedules that are not needed, or raise max_schedules",
        )
    if check_rate(changes, now, limits.changes_per_minute) is not None:
        yield UsedLimit(
            "rate_used",
            f"The extension has made {limits.changes_per_minute} changes within a minute: the next"
            " is refused with RATE_LIMITED, and what is there goes on firing",
            "It passes within a minute; an extension that reaches it often changes too much",
        )
    if check_rate(manual_runs, now, limits.manual_runs_per_minute) is not None:
        yield UsedLimit(
            "rate_used",
            f"The tenant has had {limits.manual_runs_per_minute} manual runs within a minute: the"
            " next is refused with RATE_LIMITED",
            "It passes within a minute",
        )
