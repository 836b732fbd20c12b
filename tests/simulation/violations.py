"""What must never happen, and the counts of what did."""

from collections import Counter
from enum import StrEnum

from msgspec import Struct, field


class ViolationKind(StrEnum):
    """What must never happen."""

    MISSING = "slot without its run"
    TWICE = "slot with two runs"
    NOT_DUE = "run for a slot that was not due"
    TRIGGER = "run with the wrong trigger"
    MISCOUNTED = "missed count is not the number of missed slots"
    UNFINISHED = "run never ended"
    STUCK = "work that is never done"
    UNCALLED = "success without a call"
    STALE = "run that does not show its last attempt"
    REPEATED = "attempt called twice"
    TOO_OFTEN = "more attempts than allowed"
    AT_ONCE = "two calls of a schedule at once"
    INACTIVE = "call although paused, disabled or deleted"
    UNKNOWN = "call without a run"
    TOLD_TWICE = "two events for the end of one run"
    UNACCOUNTED = "slot unaccounted for by the account"
    ACCOUNT = "account that is not what there was"
    TIMER = "timer that is wrong, missing or left over"
    REFUSED = "change refused without a reason"
    ENDED = "worker ended by a fault of its own"


class Violation(Struct, frozen=True):
    """One violation; ``about`` says what was seen, and where."""

    kind: ViolationKind
    about: str


class Tally(Struct):
    """What a simulation did and found."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    digest: int = 0
    """Of the workers' steps in their order: the same in each repetition."""

    def found(self, kind: ViolationKind, about: str) -> None:
        """Record a violation."""
        self.violations.append(Violation(kind, about))
