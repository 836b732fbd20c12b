"""The results of a check: counts of each outcome, and the particulars of the violations."""

from collections import Counter
from enum import StrEnum

from msgspec import Struct, field


class Expected(StrEnum):
    """What is expected, or may happen."""

    FIRED = "slot fired, as it had to"
    CAUGHT_UP = "slot around an outage fired"
    COUNTED = "slot around an outage counted as missed"
    IN_DOUBT_FIRED = "slot around a change fired"
    IN_DOUBT_NOT = "slot around a change did not fire"
    SUCCEEDED = "run succeeded"
    FAILED = "run failed, with a reason"
    SKIPPED = "run skipped, with a reason"
    OVERLAPPED = "run skipped as overlap, with a reason"
    CALLED = "call"
    CALLED_AGAIN = "call of a further attempt, with a reason"
    REFUSED_LATE = "call refused by the Runner: past its deadline"
    KEPT = "acknowledged change kept"
    ENDED_CLEARLY = "process ended by itself, with a clear message"
    REFUSED_TO_START = "start of the earlier release refused after the migration"
    STARTED_AGAIN = "start that found no database or bus (status 8), repeated"
    STOPPED = "process stopped when asked, status 0"


class Violation(StrEnum):
    """What must never happen."""

    MISSING = "slot missing"
    TWICE = "slot with two occurrences"
    NOT_DUE = "run for a slot that was not due"
    MISCOUNTED = "missed count without missed slots"
    EARLY = "run or call before its slot"
    UNFINISHED = "run never ended"
    UNCALLED = "success without a call"
    NEEDLESS_FAILURE = "run failed without a reason"
    NEEDLESS_SKIP = "run skipped without a reason"
    NEEDLESS_OVERLAP = "run skipped as overlap without one"
    FOREIGN_KEY = "call with a foreign idempotency key"
    UNRECORDED = "call without a run record"
    UNKNOWN = "call for a schedule never created"
    DELETED = "call for a deleted schedule"
    DISABLED = "call for a disabled schedule"
    REPEATED = "attempt called twice"
    NEEDLESS_CALL = "called again without a reason"
    TOO_OFTEN = "more attempts than allowed"
    AT_ONCE = "two calls of a schedule at once"
    FORGED = "call without a worker's token"
    LOST = "acknowledged change lost"
    RESURRECTED = "schedule there that was deleted, or never made"
    TIMER = "timer wrong, missing or left over"
    UNTOLD = "last-run fields wrong"
    REFUSED = "change refused without a reason"
    ENDED_BADLY = "process ended without a clear message"


class ViolationFound(Struct, frozen=True):
    """One violation; ``about`` names the schedule, run or process, and what was seen."""

    violation: Violation
    about: str


class CheckResults(Struct):
    """Collects; all checks write into one."""

    expected: Counter[Expected] = field(default_factory=Counter)
    violations: list[ViolationFound] = field(default_factory=list)

    def count(self, verdict: Expected, count: int = 1) -> None:
        """Count an expected outcome."""
        self.expected[verdict] += count

    def violation(self, verdict: Violation, about: str) -> None:
        """Record a violation."""
        self.violations.append(ViolationFound(verdict, about))

    def of(self, verdict: Violation) -> int:
        """Return how often it was found."""
        return sum(found.violation == verdict for found in self.violations)
