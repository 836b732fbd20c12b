"""Each run record: it ended, and as it should."""

from collections.abc import Mapping, Sequence

from tests.drill.history import Call, Change, History, Run
from tests.drill.results import CheckResults, Expected, Violation

AFTERMATH = 25.0
"""Seconds after a fault in which runs may fail for it: lease, heartbeat and a retry."""


def check_run(
    run: Run,
    history: History,
    changes: Sequence[Change],
    calls: Sequence[Call],
    results: CheckResults,
) -> None:
    """Judge a run by itself: how it ended, and why."""
    about = f"run {run.id} of {run.schedule_id} {run.slot:.0f}: {run.status}, {run.error}"
    if run.queued < run.slot:
        results.violation(Violation.EARLY, about)
    if run.finished is None:
        results.violation(Violation.UNFINISHED, about)
    elif run.status == "success":
        answered = any(call.status is not None and call.status < 400 for call in calls)
        _judge(answered, Expected.SUCCEEDED, Violation.UNCALLED, about, results)
    elif run.status == "error":
        refused = any(call.status is not None and call.status >= 400 for call in calls)
        reason = refused or near_fault(history, run.slot, run.finished)
        _judge(reason, Expected.FAILED, Violation.NEEDLESS_FAILURE, about, results)
    elif run.status == "skipped":
        error = clock_error_of(run, history)
        reason = perhaps_off(changes, run.queued - error, run.finished + error)
        _judge(reason, Expected.SKIPPED, Violation.NEEDLESS_SKIP, about, results)


def check_overlaps(
    history: History, runs: Mapping[str, Sequence[Run]], results: CheckResults
) -> None:
    """Check that another run of the schedule was under way for each one skipped as overlap."""
    for own in runs.values():
        for run in own:
            if run.status != "skipped_overlap":
                continue
            others = [other for other in own if other.id != run.id]
            reason = any(_together(run, other, history) for other in others)
            about = f"run {run.id} of {run.schedule_id} {run.slot:.0f}"
            _judge(reason, Expected.OVERLAPPED, Violation.NEEDLESS_OVERLAP, about, results)


def near_fault(history: History, began: float, ended: float) -> bool:
    """Return whether a fault can have disturbed what went on in this time."""
    return any(t.began <= ended and began <= t.ended + AFTERMATH for t in history.faults)


def clock_error_of(run: Run, history: History) -> float:
    """Return by how many seconds the times of a run record may be wrong: it may wait for long."""
    times = (run.slot, run.queued, run.started, run.finished)
    return max(history.clock_error(at) for at in times if at is not None)


def perhaps_off(changes: Sequence[Change], began: float, ended: float) -> bool:
    """Return whether the schedule may have been disabled or deleted at some moment of this time."""
    ordered = sorted(changes, key=lambda change: change.asked)
    for change, following in zip(ordered, [*ordered[1:], None], strict=True):
        on = change.row is not None and change.row.enabled
        until = following.answered if following else float("inf")
        if not on and change.asked <= ended and began <= until:
            return True
    return False


def _together(run: Run, other: Run, history: History) -> bool:
    """Return whether two runs overlapped; which owned the schedule is not visible here."""
    error = max(clock_error_of(run, history), clock_error_of(other, history))
    began = max(_began(run), _began(other))
    ended = min(run.finished or began, other.finished or began)
    return other.attempts > 0 and began <= ended + history.written_within + error


def _began(run: Run) -> float:
    """Return when it may first have held its schedule; only the last of its claims is recorded.

    One whose worker stood still before the call was handed back: it left no attempt.
    """
    return run.started if run.started is not None and run.fence == 1 else run.queued


def _judge(well: bool, good: Expected, bad: Violation, about: str, results: CheckResults) -> None:
    if well:
        results.count(good)
    else:
        results.violation(bad, about)
