"""Compares what happened in a drill with what had to. Shares no code with planner and rules."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from service.cli.errors import EXIT_UNAVAILABLE
from tests.drill import check_calls, check_rows, check_runs
from tests.drill.expected import Duty, Planning, Walks, duties
from tests.drill.history import MIGRATED, Exit, History, Run, Stored
from tests.drill.results import CheckResults, Expected, Violation

T = TypeVar("T")

UNKNOWN_MIGRATION = ", which this release does not know"

AFTERMATH = 25.0
"""Seconds after a fault in which a process may find that what it needs is lost; longer where a busy
machine takes longer to come back."""


def check(history: History) -> CheckResults:
    """Judge a whole drill."""
    results = CheckResults()
    planning, walks = Planning(history), Walks(history.began, history.stopped)
    changes = _by(history.changes, "schedule_id")
    runs, calls = _by(history.runs, "schedule_id"), _by(history.calls, "key")
    stored = {each.schedule_id: each for each in history.stored}
    for schedule_id, own in changes.items():
        expected = duties(history, own, planning, walks)
        check_slots(schedule_id, expected, runs[schedule_id], stored.get(schedule_id), results)
    for schedule_id in runs.keys() - changes.keys():
        results.violation(Violation.NOT_DUE, f"{schedule_id}: never created")
    for run in history.runs:
        own_changes = changes.get(run.schedule_id, ())
        check_runs.check_run(run, history, own_changes, calls[run.id], results)
    check_runs.check_overlaps(history, runs, results)
    check_calls.check_calls(history, changes, results)
    check_rows.check_rows(history, changes, runs, walks, results)
    for ended in history.exits:
        check_exit(ended, history, results)
    for refusal in history.refusals:
        results.violation(Violation.REFUSED, refusal.what)
    return results


def check_slots(
    schedule_id: str,
    expected: dict[float, Duty],
    runs: Sequence[Run],
    stored: Stored | None,
    results: CheckResults,
) -> None:
    """Check that every slot that was due has a run record or is counted, and nothing else has."""
    scheduled = sorted((r for r in runs if r.kind == "scheduled"), key=lambda r: r.slot)
    seen: set[float] = set()
    for run in scheduled:
        about = f"{schedule_id} {run.slot:.0f}"
        if run.slot in seen:
            results.violation(Violation.TWICE, about)
        elif run.slot not in expected:
            results.violation(Violation.NOT_DUE, about)
        else:
            fired = (Expected.IN_DOUBT_FIRED, Expected.CAUGHT_UP, Expected.FIRED)
            results.count(fired[expected[run.slot] - 1])
        seen.add(run.slot)
    left = {slot: duty for slot, duty in expected.items() if slot not in seen}
    previous = 0.0
    for run in scheduled:
        gap = {slot: duty for slot, duty in left.items() if previous < slot < run.slot}
        _check_gap(f"{schedule_id} before {run.slot:.0f}", gap, run.missed, results)
        previous = run.slot
    tail = {slot: duty for slot, duty in left.items() if slot > previous}
    _check_gap(f"{schedule_id} at the end", tail, stored.missed if stored else 0, results)


def _check_gap(about: str, gap: dict[float, Duty], missed: int, results: CheckResults) -> None:
    """Check that the slots between two run records that had to fire are counted as missed."""
    for slot, duty in gap.items():
        if duty is Duty.FIRE:
            results.violation(
                Violation.MISSING, f"{about}: {slot:.0f}, and nothing stood in its way"
            )
    due = sum(duty is Duty.ACCOUNT for duty in gap.values())
    if due > missed:
        slots = [f"{slot:.0f}" for slot, duty in gap.items() if duty is Duty.ACCOUNT]
        results.violation(
            Violation.MISSING, f"{about}: {slots}, of which {missed} counted as missed"
        )
    if missed > len(gap):
        results.violation(Violation.MISCOUNTED, f"{about}: {missed} of {len(gap)}")
    results.count(Expected.COUNTED, min(missed, len(gap)))
    doubtful = sum(duty is Duty.MAY for duty in gap.values())
    results.count(Expected.IN_DOUBT_NOT, max(doubtful - max(missed - due, 0), 0))


def check_exit(ended: Exit, history: History, results: CheckResults) -> None:
    """Check that a process asked to stop exits with 0, and one that lost what it needs says so.

    A start may find at any time that nobody answers soon enough, as on a machine that is too busy:
    it ends with a status that tells the supervisor to repeat it, and the drill waits only so long
    until one succeeds. The earlier release does not start on a database that was migrated
    meanwhile: an upgrade replaces it.
    """
    about = f"{ended.name}, status {ended.status}: {ended.words}"
    if ended.cause == "killed":
        return
    if ended.cause == "stopped":
        if ended.status == 0:
            results.count(Expected.STOPPED)
        else:
            results.violation(Violation.ENDED_BADLY, f"{about} (asked to stop)")
        return
    last = max((t.ended for t in history.faults), default=history.recovered)
    aftermath = max(AFTERMATH, history.recovered - last)
    reason = any(t.began <= ended.at <= t.ended + aftermath for t in history.faults)
    explained = ended.words.startswith("ext-scheduler: ") and "Error(" not in ended.words
    clear = ended.status > 0 and explained and not ended.traceback
    migrated = any(t.kind == MIGRATED and t.began <= ended.at for t in history.faults)
    if clear and not ended.was_ready and ended.status == EXIT_UNAVAILABLE:
        results.count(Expected.STARTED_AGAIN)
    elif clear and not ended.was_ready and migrated and ended.words.endswith(UNKNOWN_MIGRATION):
        results.count(Expected.REFUSED_TO_START)
    elif reason and clear:
        results.count(Expected.ENDED_CLEARLY)
    else:
        results.violation(Violation.ENDED_BADLY, about)


def _by(things: Iterable[T], name: str) -> defaultdict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for thing in things:
        key: Any = getattr(thing, name)
        groups[key].append(thing)
    return groups
