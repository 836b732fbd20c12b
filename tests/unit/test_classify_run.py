"""What becomes of a job by its run: at, before and after each moment that decides it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec import structs

from service.storage.runs.attempts import ClaimRequest, RunRecord
from service.worker.firing import FiringSettings
from service.worker.firing.attempt_store import classify_run

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
LEASE_MARGIN = timedelta(milliseconds=50)
SECOND = timedelta(seconds=1)
SETTINGS = FiringSettings(worker="worker-1")
QUEUED = RunRecord(
    tenant_id="t",
    id=UUID(int=1),
    slot=NOW - timedelta(minutes=1),
    install_id=UUID(int=2),
    schedule_id=UUID(int=3),
    kind="scheduled",
    trigger="schedule",
    status="queued",
    attempts=0,
    fence=0,
    lease_until=None,
    retry_at=None,
    next_slot=NOW + timedelta(minutes=5),
    started_at=None,
    http_status=None,
    error=None,
    worker=None,
)
WAITING = structs.replace(QUEUED, attempts=1, fence=1, retry_at=NOW, error="status 503")
RUNNING = structs.replace(QUEUED, status="running", attempts=1, fence=1, lease_until=NOW)


def lost(run: RunRecord) -> str | None:
    """Return the error that a run can only end with, None where an attempt begins."""
    step = classify_run(run, NOW, SETTINGS)
    assert isinstance(step, ClaimRequest)
    assert step.run == run
    return step.lost


@pytest.mark.parametrize("status", ["success", "error", "skipped_overlap", "skipped_disabled"])
def test_the_job_of_a_run_that_ended_ends(status: str) -> None:
    assert classify_run(structs.replace(QUEUED, status=status), NOW, SETTINGS) is None


def test_a_lease_holds_until_its_last_moment_and_a_little_longer_in_the_queue() -> None:
    assert lost(RUNNING) is None
    assert lost(structs.replace(RUNNING, lease_until=None)) is None
    leased = structs.replace(RUNNING, lease_until=NOW + TICK)
    assert classify_run(leased, NOW, SETTINGS) == TICK + LEASE_MARGIN


def test_a_retry_begins_a_second_before_its_time_at_the_earliest() -> None:
    assert lost(structs.replace(WAITING, retry_at=NOW + SECOND)) is None
    early = structs.replace(WAITING, retry_at=NOW + SECOND + TICK)
    assert classify_run(early, NOW, SETTINGS) == SECOND + TICK


def test_a_run_that_was_tried_ends_when_the_next_slot_is_due() -> None:
    for next_slot, error in ((NOW + TICK, None), (NOW, "status 503"), (None, None)):
        assert lost(structs.replace(WAITING, next_slot=next_slot)) == error
    assert lost(structs.replace(RUNNING, next_slot=NOW)) == "worker lost"


def test_a_run_that_was_never_tried_is_tried_however_late() -> None:
    assert lost(structs.replace(QUEUED, next_slot=NOW)) is None


def test_a_run_ends_after_its_last_attempt_with_its_error_or_as_lost() -> None:
    assert lost(structs.replace(WAITING, attempts=3)) is None
    assert lost(structs.replace(WAITING, attempts=4)) == "status 503"
    assert lost(structs.replace(WAITING, attempts=4, error=None)) == "worker lost"
    # What an attempt under way left is not the error of the one before.
    assert lost(structs.replace(RUNNING, attempts=4, error="status 503")) == "worker lost"
