"""The Runner's log: every call is of a run that was due, once per attempt, and by a worker."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID, uuid5

from tests.drill.check_runs import near_fault
from tests.drill.history import Call, Change, History, Run
from tests.drill.results import CheckResults, Expected, Violation

NAMESPACE = UUID("6f3b9d52-8c1e-5b7a-9e44-2d0c7f6a1b35")
"""Written down here once more: a change of it would give every occurrence a second key."""
MOST_ATTEMPTS = 4
DECIDED_BEFORE = 4.0
"""Seconds by which a call may follow the moment at which it was decided: 3 s, and rounding."""


def check_calls(
    history: History, changes: Mapping[str, Sequence[Change]], results: CheckResults
) -> None:
    """Judge each call by itself, then those of each occurrence and of each schedule together."""
    runs = {run.id: run for run in history.runs}
    for call in history.calls:
        _check_call(call, changes, runs, history.clock_error(call.received), results)
    accepted = [call for call in history.calls if call.status is not None]
    for calls in _grouped(accepted, "key").values():
        _check_attempts(calls, history, results)
    for schedule_id, calls in _grouped(accepted, "schedule_id").items():
        for one, other in pairwise(calls):
            if other.received < one.answered:
                results.violation(Violation.AT_ONCE, f"{schedule_id}: {one.key} and {other.key}")


def _check_call(
    call: Call,
    changes: Mapping[str, Sequence[Change]],
    runs: Mapping[str, Run],
    clock_error: float,
    results: CheckResults,
) -> None:
    about = f"{call.key} of {call.schedule_id} {call.slot:.0f}, attempt {call.attempt}"
    results.count(Expected.CALLED if call.status is not None else Expected.REFUSED_LATE)
    if call.key not in {key_of(call, "scheduled"), key_of(call, "manual")}:
        results.violation(Violation.FOREIGN_KEY, about)
    if call.received < call.slot - clock_error:
        results.violation(Violation.EARLY, about)
    if call.attempt > MOST_ATTEMPTS:
        results.violation(Violation.TOO_OFTEN, about)
    if call.key not in runs:
        results.violation(Violation.UNRECORDED, about)
    if call.signed is None:
        results.violation(Violation.FORGED, about)
    elif call.schedule_id not in changes:
        results.violation(Violation.UNKNOWN, about)
    elif call.key != key_of(call, "manual"):
        signed = call.signed - clock_error, call.signed + clock_error
        _check_wanted(signed, changes[call.schedule_id], about, results)


def _check_wanted(
    signed: tuple[float, float], changes: Sequence[Change], about: str, results: CheckResults
) -> None:
    """Check that the call was decided while the schedule was enabled, or may have been.

    ``signed`` are the first and the last moment at which it may have been signed.
    """
    ordered = sorted(changes, key=lambda change: change.asked)
    since, until = signed[0] - DECIDED_BEFORE, signed[1] + 1.0
    relevant = [
        change
        for change, following in zip(ordered, [*ordered[1:], None], strict=True)
        if change.asked <= until and (following is None or following.answered >= since)
    ]
    if any(change.row is not None and change.row.enabled for change in relevant):
        return
    gone = bool(relevant) and relevant[-1].row is None
    results.violation(
        Violation.DELETED if gone else Violation.DISABLED, f"{about}, signed at {signed[0]}"
    )


def _check_attempts(calls: Sequence[Call], history: History, results: CheckResults) -> None:
    for one, other in pairwise(calls):
        about = f"{other.key} of {other.schedule_id}, attempts {one.attempt} and {other.attempt}"
        if other.attempt <= one.attempt:
            results.violation(Violation.REPEATED, about)
        failed = one.status is not None and one.status >= 500
        if failed or near_fault(history, one.received, other.received):
            results.count(Expected.CALLED_AGAIN)
        else:
            results.violation(Violation.NEEDLESS_CALL, about)


def key_of(call: Call, kind: str) -> str:
    """Return the one idempotency key that a call for this schedule and slot may have."""
    slot = datetime.fromtimestamp(call.slot, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(uuid5(NAMESPACE, f"{call.schedule_id}:{slot}:{kind}"))


def _grouped(calls: Sequence[Call], name: str) -> dict[str, list[Call]]:
    groups: defaultdict[str, list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.received):
        groups[getattr(call, name)].append(call)
    return groups
