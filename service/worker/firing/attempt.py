"""An attempt of a run as it is claimed, and how it ended."""

from datetime import datetime

from msgspec import Struct

from service.rules.outcomes import CallOutcome
from service.storage.runs.attempts import RunRecord
from service.storage.runs.invocations import Invocation
from service.storage.runs.queue import OwnedJob


class ClaimedAttempt(Struct, frozen=True):
    """An attempt of this worker.

    ``owns_slot`` is False while another run of the schedule is running or waits for its retry.
    ``lost`` is the error that the run can only end with, None where it may be called. ``now`` is
    the database's time of the claim, ``claimed_at_s`` the monotonic seconds of that moment.
    """

    run: RunRecord
    owns_slot: bool
    invocation: Invocation
    lost: str | None
    now: datetime
    claimed_at_s: float
    job: OwnedJob | None = None
    """The job of a run that was claimed when it was planned, which ends with the run."""


class AttemptResult(Struct, frozen=True, kw_only=True):
    """How an attempt ended; ``outcome`` is None for a run that was skipped, for ``reason``."""

    attempt: ClaimedAttempt
    outcome: CallOutcome | None = None
    status: str = "error"
    reason: str | None = None
    duration_ms: int | None = None
    disable: bool = False
    request_id: str | None = None
    refused: bool = False
    """Whether the database has refused the result: the run record alone is written."""
    handed_back: bool = False
    """Whether the claim came too late to call: the attempt does not count."""

    @property
    def retriable(self) -> bool:
        """Return whether a further attempt may help."""
        outcome = self.outcome
        return outcome is not None and outcome.error is not None and not outcome.final
