"""A schedule that nothing holds, and a slot of it, of which tests change what they are about."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import structs

from service.rules.explanation import (
    FailureCount,
    RunState,
    ScheduleSituation,
    SlotSituation,
    TimerState,
)

NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
TIMER = TimerState(cron="0 * * * *", timezone="UTC", due_at=SLOT + HOUR, missed=0)
RUN = RunState(
    id=UUID(int=7),
    slot=SLOT,
    status="success",
    attempts=1,
    missed=0,
    queued_at=SLOT + SECOND,
    started_at=None,
    finished_at=None,
    retry_at=None,
    worker=None,
    error=None,
)
HEALTHY = ScheduleSituation(
    now=NOW,
    cron="0 * * * *",
    timezone="UTC",
    created_at=NOW - timedelta(days=90),
    enabled=True,
    last_run_status="success",
    last_error=None,
    pause=None,
    install_exists=True,
    install_enabled=True,
    install_off=None,
    schedule_off=None,
    endpoint_valid=True,
    driven_by=None,
    has_capability=True,
    timer=TIMER,
    workers_up=1,
    worker_seen=NOW,
    open_run=None,
    failures=FailureCount(),
)
ASKED = SlotSituation(
    at=SLOT,
    cron="0 * * * *",
    timezone="UTC",
    run=None,
    following=None,
    pause=None,
    install_off=None,
    schedule_off=None,
)


def a_schedule(**changed: Any) -> ScheduleSituation:
    """Return the healthy schedule with some things changed."""
    return structs.replace(HEALTHY, **changed)


def a_slot(**changed: Any) -> SlotSituation:
    """Return the slot of 12:00, without a record of any kind, with some things changed."""
    return structs.replace(ASKED, **changed)


def a_run(**changed: Any) -> RunState:
    """Return the run of the slot of 12:00, with some things changed."""
    return structs.replace(RUN, **changed)


def a_timer(**changed: Any) -> TimerState:
    """Return the timer of the slot of 13:00, with some things changed."""
    return structs.replace(TIMER, **changed)
