"""What is known of a schedule and of a slot when it is asked why one did not fire."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from contracts.admin_explain import FindingCode


class Change(Struct, frozen=True):
    """When something was switched, by whom, and why where that is known."""

    at: datetime
    by: str | None
    reason: str | None = None


class Switch(Struct, frozen=True):
    """Something that is off ``since`` a change; ``until`` is the change that put it on again."""

    since: Change | None = None
    until: Change | None = None


class TimerState(Struct, frozen=True):
    """A schedule's timer: what it was made from, and the slots that no run accounts for yet."""

    cron: str
    timezone: str
    due_at: datetime
    missed: int


class FailureCount(Struct, frozen=True):
    """Failed runs in a row, since when they are many, and how many had the schedule disabled."""

    failures: int = 0
    failing_since: datetime | None = None
    disabled_after: int | None = None


class RunState(Struct, frozen=True):
    """A run record, as far as it explains anything."""

    id: UUID
    slot: datetime
    status: str
    attempts: int
    missed: int
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    retry_at: datetime | None
    worker: str | None
    error: str | None


class UsedLimit(Struct, frozen=True):
    """A limit that is used up, and what it keeps from happening."""

    code: FindingCode
    text: str
    advice: str


class ScheduleSituation(Struct, frozen=True, kw_only=True):
    """What is true of a schedule now.

    ``pause``, ``install_off`` and ``schedule_off`` are None where it is not off; ``driven_by`` is
    the handle of another job runner. ``worker_seen`` is when the last worker was seen.
    """

    now: datetime
    cron: str
    timezone: str
    created_at: datetime
    enabled: bool
    last_run_status: str | None
    last_error: str | None
    pause: Change | None
    install_exists: bool
    install_enabled: bool
    install_off: Change | None
    schedule_off: Change | None
    endpoint_valid: bool
    driven_by: str | None
    has_capability: bool
    timer: TimerState | None
    workers_up: int
    worker_seen: datetime | None
    open_run: RunState | None
    failures: FailureCount
    used_up: Sequence[UsedLimit] = ()


class SlotSituation(Struct, frozen=True, kw_only=True):
    """What is known of the instant asked about.

    ``cron`` and ``timezone`` are those that the schedule had then; ``following`` is its first run
    after it. The switches are those that were off at that instant. ``gap`` says that the wall time
    asked about did not exist, and ``at`` is the first instant after the gap.
    """

    at: datetime
    cron: str
    timezone: str
    run: RunState | None
    following: RunState | None
    pause: Switch | None
    install_off: Switch | None
    schedule_off: Switch | None
    gap: str | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """One finding of an explanation; ``holds`` where it keeps the schedule from firing now."""

    code: FindingCode
    text: str
    holds: bool = False
    since: datetime | None = None
    by: str | None = None
    advice: str | None = None
    run_id: UUID | None = None


Findings: TypeAlias = Iterator[Explanation]


def in_utc(at: datetime) -> str:
    """Return an instant as people read it, to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
