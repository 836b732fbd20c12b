"""One job, from its payload to its result: claim, decide, call, write."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from logging import INFO, getLogger
from time import monotonic
from typing import Any, overload

import asyncpg

from contracts.execution import ExecuteRequest
from service.flow_control.fair_limiter import FairLimiter
from service.flow_control.micro_batcher import MicroBatcher
from service.rules.outcomes import CallOutcome
from service.rules.planning import start_of
from service.runtime.logs import fields
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.engine.errors import is_refusal, is_unavailable
from service.storage.runs.attempts import RunRecord
from service.storage.runs.queue import JobDelay, JobEnd, JobPayload
from service.storage.runs.updates import RunUpdate
from service.worker.firing.attempt import AttemptResult, ClaimedAttempt
from service.worker.firing.attempt_store import (
    LOCK_RETRY_DELAYS_S,
    WRITE_RETRY_DELAYS_S,
    AttemptStore,
    Unwritten,
)
from service.worker.firing.decision import EndWithoutCall, decide
from service.worker.firing.settings import TIMEOUT_STEP_S, FiringSettings
from service.worker.runner_client import RunnerCall, RunnerClient

log = getLogger(__name__)

MAX_DURATION_MS = 2**31 - 1
"""What the run record holds; a process can stand still for longer."""
BUS_RETRY_DELAY = timedelta(seconds=1)
DATABASE_RETRY_DELAY = timedelta(seconds=1)


class ScheduleLockedError(Exception):
    """A result was not written, because another transaction has held its schedule for minutes."""


class RunExecutor:
    """Carries out runs; ``on_finished`` is called for every run that left an event."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        client: RunnerClient,
        metrics: Metrics,
        settings: FiringSettings,
        *,
        on_finished: Callable[[], None] = lambda: None,
        now: clock.Clock = clock.read,
    ) -> None:
        store = AttemptStore(pool, settings, now)
        size, wait_s, lanes = settings.batch_size, settings.batch_wait_s, settings.batch_lanes
        self.limiter = FairLimiter(settings.in_flight)
        self.stopping = False
        self._claims = MicroBatcher(
            store.claim,
            key=lambda job: (job.tenant_id, job.schedule_id),
            size=size,
            wait_s=wait_s,
            lanes=lanes,
            isolates=is_refusal,
        )
        self._writes = MicroBatcher(
            store.write,
            key=lambda result: result.attempt.run.key,
            size=size,
            wait_s=wait_s,
            lanes=lanes,
            isolates=is_refusal,
        )
        self._client = client
        self._metrics = metrics
        self._settings = settings
        self._on_finished = on_finished

    @property
    def room(self) -> int:
        """Return for how many more runs there are permits, for one tenant or another."""
        return 0 if self.stopping or not self._client.connected else self.limiter.room

    @overload
    async def execute(self, work: JobPayload) -> JobDelay: ...

    @overload
    async def execute(self, work: ClaimedAttempt) -> JobDelay | JobEnd: ...

    async def execute(self, work: JobPayload | ClaimedAttempt) -> JobDelay | JobEnd:
        """Carry out an attempt of a run; return what becomes of the job.

        An attempt that was claimed already comes with a permit of its tenant.
        """
        if isinstance(work, ClaimedAttempt):
            tenant_id = work.run.tenant_id
        else:
            tenant_id, delay = work.tenant_id, await self._delay_without_permit(work.tenant_id)
            if delay is not None:
                return delay
        acquired_at_s = monotonic()
        try:
            result = await self._attempt(work)
        except Exception as error:
            if not is_unavailable(error) or isinstance(work, ClaimedAttempt):
                raise
            log.warning("could not claim run: %r", error, extra=fields(run=work.run_id))
            return DATABASE_RETRY_DELAY
        finally:
            self.limiter.release(tenant_id, monotonic() - acquired_at_s)
        if not isinstance(result, AttemptResult):
            return result
        return self._account(result, await self._written(result))

    async def hand_back(self, attempt: ClaimedAttempt) -> JobDelay | JobEnd:
        """Hand back an attempt that begins no call, uncounted; return what becomes of the job."""
        result = AttemptResult(attempt=attempt, handed_back=True)
        return self._account(result, await self._written(result))

    async def _written(self, result: AttemptResult) -> RunUpdate | None:
        """Write a result, again while another transaction holds its schedule; None: it was stale.

        It waits here, without a connection and without those that share its statement.
        """
        for delay_s in (*WRITE_RETRY_DELAYS_S, *LOCK_RETRY_DELAYS_S):
            written = await self._writes.add(result)
            if written is not Unwritten.SCHEDULE_LOCKED:
                return None if written is Unwritten.FENCE_LOST else written
            await asyncio.sleep(delay_s)
        raise ScheduleLockedError(result.attempt.run.schedule_id)

    async def _delay_without_permit(self, tenant_id: str) -> timedelta | None:
        """Acquire a permit; return the delay before the next try where there is none."""
        if self.stopping:
            return timedelta(0)
        if not self._client.connected:
            return BUS_RETRY_DELAY
        if not await self.limiter.acquire(tenant_id, self._settings.permit_timeout_s):
            return timedelta(seconds=self.limiter.retry_delay(tenant_id))
        return None

    async def _attempt(self, work: JobPayload | ClaimedAttempt) -> AttemptResult | JobDelay:
        # The permit may have come long after it was asked for: no attempt begins while stopping.
        if isinstance(work, ClaimedAttempt):
            attempt: ClaimedAttempt | JobDelay = work
            if self.stopping:
                return AttemptResult(attempt=work, handed_back=True)
        else:
            attempt = timedelta(0) if self.stopping else await self._claims.add(work)
        if not isinstance(attempt, ClaimedAttempt):
            return attempt
        if attempt.lost is not None:
            outcome = CallOutcome(attempt.run.http_status, attempt.lost, final=True)
            return AttemptResult(attempt=attempt, outcome=outcome)
        decision = decide(
            attempt.run,
            attempt.invocation,
            owns_slot=attempt.owns_slot,
            timeout_ms=int(self._settings.runner_timeout_s * 1000),
            declared_is_granted=self._settings.declared_is_granted,
        )
        if isinstance(decision, EndWithoutCall):
            return AttemptResult(
                attempt=attempt,
                outcome=decision.outcome,
                status=decision.status,
                reason=decision.reason,
                disable=decision.disable,
            )
        return await self._call(attempt, decision)

    async def _call(self, attempt: ClaimedAttempt, request: ExecuteRequest) -> AttemptResult:
        started_at_s = monotonic()
        elapsed_s = started_at_s - attempt.claimed_at_s
        if elapsed_s > TIMEOUT_STEP_S:
            # The claim waited for a lock, or this process stood still: the lease would end before
            # the answer comes.
            return AttemptResult(attempt=attempt, handed_back=True)
        run = attempt.run
        if run.kind == "scheduled" and run.attempts == 1:
            lateness_s = (attempt.now - self._promised_start(run)).total_seconds() + elapsed_s
            self._metrics.fire_lateness.observe(max(lateness_s, 0.0))
        outcome = await self._client.call(
            RunnerCall(
                request=request,
                idempotency_key=run.id,
                at=attempt.now.timestamp() + elapsed_s,
                timeout_s=self._settings.call_timeout_s,
                pool=attempt.invocation.runner_pool,
            )
        )
        duration_s = monotonic() - started_at_s
        self._metrics.run_duration.observe(duration_s)
        return AttemptResult(
            attempt=attempt,
            outcome=outcome,
            duration_ms=min(round(duration_s * 1000), MAX_DURATION_MS),
            request_id=request.context.request_id,
        )

    def _promised_start(self, run: RunRecord) -> datetime:
        if not self._settings.spread or run.next_slot is None:
            return run.slot
        return start_of(run.schedule_id, run.slot, run.next_slot, self._settings.spread)

    def _account(self, result: AttemptResult, update: RunUpdate | None) -> JobDelay | JobEnd:
        run = result.attempt.run
        if update is None:
            log.warning("stale attempt discarded", extra=fields(run=run.id, attempt=run.attempts))
            return None
        if update.handed_back:
            log.warning("claim came too late", extra=fields(run=run.id, attempt=run.attempts))
            return update.retry_delay
        if log.isEnabledFor(INFO):
            log.info("run", extra=_log_fields(update, result.request_id))
        if update.status == "queued":
            self._metrics.retries.inc()
            return update.retry_delay
        self._metrics.record_run_finished(run.trigger, update.status)
        if update.recorded:
            self._on_finished()
        return None if update.job is None else JobEnd.WRITTEN


def _log_fields(update: RunUpdate, request_id: str | None) -> dict[str, dict[str, Any]]:
    run = update.run
    return fields(
        outcome=update.status,
        tenant=run.tenant_id,
        install=run.install_id,
        schedule=run.schedule_id,
        run=run.id,
        request_id=request_id,
        trigger=run.trigger,
        attempt=run.attempts,
        duration_ms=update.duration_ms,
        http_status=update.http_status,
        # What the extension answered may repeat its payload: that is in the run record alone.
        error=update.error if update.http_status is None else None,
    )
