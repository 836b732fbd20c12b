"""Settings of firing. The timeouts nest: Runner < bridge < bus < lease."""

from datetime import timedelta

from msgspec import Struct

from service.rules.outcomes import FailureRules, RetryRules

TIMEOUT_STEP_S = 3.0
"""By how much each outer timeout is longer than the one inside it."""


class FiringSettings(Struct, frozen=True, kw_only=True):
    """Times in seconds."""

    worker: str = "worker"
    """Name of this process in run records."""
    runner_timeout_s: float = 30.0
    """The Runner's own limit; the others follow from it."""
    in_flight: int = 500
    """How many runs may be claimed and called at once."""
    spread: timedelta = timedelta(0)
    """The period over which the starts of one slot are spread."""
    batch_size: int = 200
    """How many runs are claimed, or written, together at most."""
    batch_wait_s: float = 0.004
    batch_lanes: int = 3
    """Batches that are claimed at once, and as many that are written."""
    permit_timeout_s: float = 1.0
    """How long a job waits for a permit to call before it goes back to the queue."""
    declared_is_granted: bool = False
    sharded: bool = False
    """Whether tenants' rows are on several nodes, where no statement can lock those of many."""
    retries: RetryRules = RetryRules()
    failures: FailureRules = FailureRules()
    acquire_timeout_s: float = 5.0

    @property
    def call_timeout_s(self) -> float:
        """Return the wait for the answer on the bus: the bridge's timeout lies in between."""
        return self.runner_timeout_s + 2 * TIMEOUT_STEP_S

    @property
    def lease(self) -> timedelta:
        """Return how long an attempt is its worker's, so that no retry overlaps its predecessor."""
        return timedelta(seconds=self.call_timeout_s + 2 * TIMEOUT_STEP_S)
