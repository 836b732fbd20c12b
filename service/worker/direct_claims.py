"""Claiming what is planned in the transaction that plans it, as far as this worker has room.

The job is enqueued as this worker's own, the run record is written as claimed, and what the call
needs is loaded there. What exceeds the room, catch-up and retries wait in the queue for any worker.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from time import monotonic
from uuid import UUID

from msgspec import Struct, field

from service.flow_control.fair_limiter import FairLimiter
from service.storage.engine.connection import Connection
from service.storage.runs import invocations
from service.storage.runs.direct_claims import ClaimedJob, DirectClaim
from service.storage.runs.occurrences import Occurrence
from service.storage.runs.queue import JobDelay, JobEnd, OwnedJob
from service.worker.firing import (
    ClaimedAttempt,
    ClaimTooLateError,
    FiringSettings,
    RunExecutor,
)
from service.worker.firing.settings import TIMEOUT_STEP_S
from service.worker.job_consumer import JobConsumer

ROOM_LOOK_S = 0.005
ROOM_LOOKS = 20


class ClaimBatch(Struct, kw_only=True):
    """What one transaction claims: at most ``room`` runs, each with a permit of the limiter."""

    owner: UUID
    settings: FiringSettings
    limiter: FairLimiter
    room: int
    began_at_s: float
    """Monotonic seconds of a moment before the transaction."""
    permits: dict[tuple[str, UUID], str] = field(default_factory=dict)
    """The tenant whose permit it is, by (tenant, schedule)."""
    attempts: dict[int, ClaimedAttempt] = field(default_factory=dict)
    """What was claimed, by job."""

    def choose(self, planned: Sequence[Occurrence]) -> DirectClaim:
        """Acquire permits for occurrences that are on time, the most urgent first; claim these."""
        for occurrence in sorted(planned, key=lambda each: -each.priority):
            if len(self.permits) >= self.room:
                break
            tenant_id = occurrence.tenant_id
            if occurrence.trigger == "schedule" and self.limiter.try_acquire(tenant_id):
                self.permits[tenant_id, occurrence.schedule_id] = tenant_id
        return DirectClaim(
            owner=self.owner,
            worker=self.settings.worker,
            lease=self.settings.lease,
            schedules=frozenset(self.permits),
        )

    async def load(
        self, connection: Connection, claimed: Sequence[ClaimedJob], now: datetime
    ) -> None:
        """Load what the calls need: the last statement, so that it sees what changed before.

        Raises ClaimTooLateError where the transaction took so long that no call may follow.
        """
        if not claimed:
            return
        keys = [(job.run.tenant_id, job.run.schedule_id) for job in claimed]
        loaded = await invocations.load(connection, keys)
        if monotonic() - self.began_at_s > TIMEOUT_STEP_S:
            raise ClaimTooLateError
        self.attempts = {
            job.id: ClaimedAttempt(
                run=job.run,
                owns_slot=True,
                invocation=invocation,
                lost=None,
                now=now,
                claimed_at_s=self.began_at_s,
                job=OwnedJob(job.id, self.owner),
            )
            for job, invocation in zip(claimed, loaded, strict=True)
        }


class DirectClaims:
    """Claims for one worker: its executor runs the jobs that its consumer holds."""

    def __init__(
        self, consumer: JobConsumer, executor: RunExecutor, settings: FiringSettings
    ) -> None:
        self._consumer = consumer
        self._executor = executor
        self._settings = settings

    @property
    def room(self) -> int:
        """Return how many runs may be claimed now."""
        return min(self._consumer.room, self._executor.room)

    async def wait_for_room(self, wanted: int) -> None:
        """Wait a little for room: planning without room costs more."""
        for _ in range(ROOM_LOOKS):
            if self.room >= wanted:
                return
            await asyncio.sleep(ROOM_LOOK_S)

    @contextmanager
    def batch(self) -> Iterator[ClaimBatch]:
        """Provide what the planner claims with, and start what was claimed once it was committed.

        Where the COMMIT was not answered, the consumer finds out.
        """
        batch = ClaimBatch(
            owner=self._consumer.owner,
            settings=self._settings,
            limiter=self._executor.limiter,
            room=self.room,
            began_at_s=monotonic(),
        )
        with self._consumer.expecting():
            try:
                yield batch
            except BaseException:
                self._consumer.start_if_owned(
                    {id_: partial(self._resume, each) for id_, each in batch.attempts.items()}
                )
                raise
            else:
                for id_, attempt in batch.attempts.items():
                    del batch.permits[attempt.run.tenant_id, attempt.run.schedule_id]
                    self._consumer.start(id_, partial(self._executor.execute, attempt))
            finally:
                for tenant_id in batch.permits.values():
                    batch.limiter.release(tenant_id, 0.0)

    async def _resume(self, attempt: ClaimedAttempt) -> JobDelay | JobEnd:
        """Carry out an attempt without a permit if there is one now; else hand it back."""
        if not self._executor.limiter.try_acquire(attempt.run.tenant_id):
            return await self._executor.hand_back(attempt)
        return await self._executor.execute(attempt)
