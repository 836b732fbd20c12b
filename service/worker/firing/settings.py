"""Settings of firing. The timeouts nest: Runner < bridge < bus < lease."""

from datetime import timedelta

from msgspec import Struct

from service.rules.outcomes import RetryRules

STEP_S = 3.0
"""How much longer each outer timeout is than the one inside it."""


class FiringSettings(Struct, frozen=True, kw_only=True):
    """Times in seconds."""

    worker: str = "worker"
    """Name of this process in run records."""
    runner_timeout_s: float = 30.0
    """The Runner's own limit; the others follow from it."""
    in_flight: int = 500
    """How many runs may be claimed and called at once."""
    gather: int = 200
    gather_wait_s: float = 0.004
    gather_lanes: int = 3
    """Batches that are begun at once, and as many that are ended."""
    seat_patience_s: float = 1.0
    declared_is_granted: bool = False
    sharded: bool = False
    """Whether tenants' rows lie on several nodes, where no statement can lock those of many."""
    retries: RetryRules = RetryRules()
    acquire_timeout_s: float = 5.0

    @property
    def call_timeout_s(self) -> float:
        """How long to wait for the answer on the bus: the bridge's timeout lies in between."""
        return self.runner_timeout_s + 2 * STEP_S

    @property
    def lease(self) -> timedelta:
        """How long an attempt is its worker's, so that a retry never overlaps its predecessor."""
        return timedelta(seconds=self.call_timeout_s + 2 * STEP_S)
