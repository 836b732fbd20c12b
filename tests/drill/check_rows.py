"""The tables at the end: every acknowledged change is there, with its timer and its last run."""

from collections.abc import Mapping, Sequence

from tests.drill.expected import Walks
from tests.drill.history import Change, History, Run, Stored
from tests.drill.results import CheckResults, Expected, Violation

DUE_WITHIN = 15.0
"""Seconds for which a timer may stay due before it is planned."""


def check_rows(
    history: History,
    changes: Mapping[str, Sequence[Change]],
    runs: Mapping[str, Sequence[Run]],
    walks: Walks,
    results: CheckResults,
) -> None:
    """Compare the schedules with what their workload was answered."""
    stored = {each.schedule_id: each for each in history.stored}
    for schedule_id, own in changes.items():
        found = stored.pop(schedule_id, None)
        last = max(own, key=lambda change: change.asked)
        if last.row is None:
            if found is not None:
                results.violation(
                    Violation.RESURRECTED, f"{schedule_id} was deleted at {last.answered}"
                )
        elif found is None or found.row != last.row or found.revision != len(own):
            results.violation(
                Violation.LOST, f"{schedule_id}: {last.row}, change {len(own)}, is {found}"
            )
            continue
        results.count(Expected.KEPT, len(own))
        if found is not None:
            _check_timer(found, history.stopped, walks, results)
            _check_last_run(found, runs.get(schedule_id, ()), results)
    for schedule_id, found in stored.items():
        if found.row.cron:
            results.violation(Violation.RESURRECTED, f"{schedule_id}: never created")
        else:
            results.violation(Violation.TIMER, f"{schedule_id}: a timer without schedule")


def _check_timer(found: Stored, stopped: float, walks: Walks, results: CheckResults) -> None:
    """Check that an enabled schedule's timer is at its next slot, or at one just due."""
    about = f"{found.schedule_id} {found.row.timing}: due {found.due}"
    if (found.due is None) == found.row.enabled:
        results.violation(Violation.TIMER, about)
    if found.due is None or not found.row.enabled:
        return
    slots = walks.slots(found.row.cron, found.row.timezone)
    between = [slot for slot in slots if stopped < slot < found.due]
    stray = found.due <= walks.until and found.due not in slots
    if found.due < stopped - DUE_WITHIN or between or stray:
        results.violation(Violation.TIMER, f"{about}, stopped at {stopped}")


def _check_last_run(found: Stored, runs: Sequence[Run], results: CheckResults) -> None:
    recorded = [
        run for run in runs if run.status in {"success", "error"} and run.started is not None
    ]
    last = max(recorded, key=lambda run: run.slot, default=None)
    want = (last.started, last.status) if last else (None, None)
    if (found.last_run_at, found.last_run_status) != want:
        seen = (found.last_run_at, found.last_run_status)
        results.violation(Violation.UNTOLD, f"{found.schedule_id}: {want} wanted, {seen} found")
