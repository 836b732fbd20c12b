"""Claiming attempts and writing their results, many at a time, each on its own fence."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from logging import getLogger
from time import monotonic

import asyncpg
from msgspec import structs

from service.rules.outcomes import CallOutcome, retry_at
from service.runtime.logs import fields
from service.storage.engine import clock
from service.storage.engine.acquire import acquired, index_only_transaction
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_contended, is_refusal, is_unavailable
from service.storage.runs import attempts, invocations, queue, results, retry_bounds
from service.storage.runs.attempts import WORKER_LOST, ClaimRequest, RunKey, RunRecord
from service.storage.runs.invocations import Invocation
from service.storage.runs.queue import JobDelay, JobPayload
from service.storage.runs.updates import RunUpdate, lock_active_runs, write_updates
from service.worker.firing.attempt import AttemptResult, ClaimedAttempt
from service.worker.firing.settings import TIMEOUT_STEP_S, FiringSettings

log = getLogger(__name__)

RESULT_REFUSED = "The result of the call could not be recorded"
CONTENTION_DELAY = timedelta(seconds=1)
"""After how long a run is looked at again that another worker has just claimed."""
EARLY_RETRY_TOLERANCE = timedelta(seconds=1)
"""How long before its time a retry may begin: less than a job's round trip through the queue."""
LEASE_END_MARGIN = timedelta(milliseconds=50)
CLAIM_RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0)
WRITE_RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 4.0, 4.0)
LOCK_RETRY_DELAYS_S = (4.0,) * 60
"""Further delays where a lock is the only reason: nobody else can write the result meanwhile."""


class Unwritten(Enum):
    """Why a result was not written."""

    FENCE_LOST = "another attempt has begun"
    SCHEDULE_LOCKED = "another transaction holds the row of the schedule"


class ClaimTooLateError(Exception):
    """A claim took so long, for a lock or a slow database, that no call may follow it."""


def classify_run(
    run: RunRecord, now: datetime, settings: FiringSettings
) -> ClaimRequest | JobDelay:
    """Decide what to do with a job by its run: claim it, wait, or (None) end the job."""
    if run.status not in {"queued", "running"}:
        return None
    if run.lease_until is not None and run.lease_until > now:
        return run.lease_until - now + LEASE_END_MARGIN
    if run.retry_at is not None and run.retry_at > now + EARLY_RETRY_TOLERANCE:
        return run.retry_at - now
    overdue = run.next_slot is not None and run.next_slot <= now
    used_up = run.attempts >= settings.retries.max_attempts
    if run.attempts > 0 and (overdue or used_up):
        # A retry ends with its last attempt's error; one whose worker died has none.
        error = run.error if run.status == "queued" else None
        return ClaimRequest(run, lost=error or WORKER_LOST)
    return ClaimRequest(run)


def _claim_again(run: RunRecord, claim: ClaimRequest | None) -> ClaimRequest | None:
    """Return the claim to make again where the run is as that claim left it: nobody has called."""
    if claim is None or run.status != "running":
        return None
    left = claim.run.worker, claim.run.fence, claim.run.lease_until
    return claim if (run.worker, run.fence, run.lease_until) == left else None


class AttemptStore:
    """The two batched steps of an attempt, over a pool, by the database's clock."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        settings: FiringSettings,
        now: clock.Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._now = now
        self._sleep = sleep
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    async def claim(self, jobs: Sequence[JobPayload]) -> list[ClaimedAttempt | JobDelay]:
        """Claim the runs of these jobs and load what their calls need.

        Returns, for each job, the attempt, or what becomes of the job where there is none. A claim
        that comes too late to call is rolled back: committed, it would hold its schedule for a
        moment, and another run that was claimed in it would be skipped as overlapping. One whose
        COMMIT is not answered is made again: its lease would keep everybody waiting.
        """
        unanswered: dict[RunKey, ClaimRequest] = {}
        for delay_s in (*CLAIM_RETRY_DELAYS_S, None):
            try:
                return await self._claim(jobs, unanswered)
            except ClaimTooLateError:
                log.warning("claim of %d runs came too late", len(jobs))
                return [timedelta(0)] * len(jobs)
            except Exception as error:
                if not unanswered or delay_s is None or not is_unavailable(error):
                    raise
                log.warning("claim of %d runs was not answered: %r", len(jobs), error)
                await self._sleep(delay_s)
        raise AssertionError  # the last round returns or raises

    async def _claim(
        self, jobs: Sequence[JobPayload], unanswered: dict[RunKey, ClaimRequest]
    ) -> list[ClaimedAttempt | JobDelay]:
        """Claim; ``unanswered`` are earlier claims that may have been committed, and gets these."""
        async with acquired(self._pool, self._settings.acquire_timeout_s) as connection:
            now, claimed_at_s = await self._now(connection), monotonic()
            async with index_only_transaction(connection):
                runs = await attempts.load(connection, jobs)
                repeated = [run for run in runs.values() if run.attempts > 0]
                runs |= await retry_bounds.current(connection, repeated)
                steps = {
                    key: _claim_again(run, unanswered.get(key))
                    or classify_run(run, now, self._settings)
                    for key, run in runs.items()
                }
                claimed, owners = await attempts.claim(
                    connection,
                    [step for step in steps.values() if isinstance(step, ClaimRequest)],
                    worker=self._settings.worker,
                    now=now,
                    lease_until=now + self._settings.lease,
                )
                loaded = await _load_invocations(connection, claimed)
                if claimed and monotonic() - claimed_at_s > TIMEOUT_STEP_S:
                    raise ClaimTooLateError
                lost = {k: s.lost for k, s in steps.items() if isinstance(s, ClaimRequest)}
                unanswered |= {
                    run.key: ClaimRequest(run, lost[run.key], again=True) for run in claimed
                }
        claims: dict[RunKey, ClaimedAttempt] = {}
        for run, invocation in zip(claimed, loaded, strict=True):
            claims[run.key] = ClaimedAttempt(
                run, run.key in owners, invocation, lost[run.key], now, claimed_at_s
            )
        answers: list[ClaimedAttempt | JobDelay] = []
        for job in jobs:
            step = steps.get((job.tenant_id, job.run_id))
            if isinstance(step, ClaimRequest):
                # Without a claim, another worker was faster.
                answers.append(claims.get(step.run.key, CONTENTION_DELAY))
            else:
                answers.append(step)
        return answers

    async def write(self, ended: Sequence[AttemptResult]) -> list[RunUpdate | Unwritten]:
        """Write results, retrying for a while when the database is unavailable.

        Returns, for each, what was written, also by a try whose COMMIT was not answered, or why
        nothing was.
        """
        for tries, delay_s in enumerate((*WRITE_RETRY_DELAYS_S, *LOCK_RETRY_DELAYS_S, None)):
            try:
                return await self._write(ended)
            except Exception as error:
                if len(ended) == 1 and is_refusal(error) and not ended[0].refused:
                    return await self.write([_with_less(ended[0], error)])
                waits = is_contended if tries >= len(WRITE_RETRY_DELAYS_S) else is_unavailable
                if delay_s is None or not waits(error):
                    raise
                log.warning("retrying result write: %r", error)
                await self._sleep(delay_s)
        raise AssertionError  # the last round returns or raises

    async def _write(self, ended: Sequence[AttemptResult]) -> list[RunUpdate | Unwritten]:
        async with acquired(self._pool, self._settings.acquire_timeout_s) as connection:
            now = await self._now(connection)
            async with index_only_transaction(connection):
                failed = [result.attempt.run for result in ended if result.retriable]
                bounds = await retry_bounds.current(connection, failed)
                wanted = updates = [self._update(result, now, bounds) for result in ended]
                if not self._settings.sharded:
                    locked = await results.lock_schedules(connection, wanted)
                    if locked:
                        updates = [
                            update
                            for update in wanted
                            if not (update.recorded and update.schedule in locked)
                        ]
                    await lock_active_runs(connection, updates)
                written = await write_updates(connection, updates)
                await results.record(connection, written, now, self._settings.failures)
                await queue.end_owned(connection, [each.job for each in written if each.job])
                if len(written) == len(wanted):
                    return list(wanted)
                done: dict[RunKey, RunUpdate] = {update.run.key: update for update in written}
                unwritten = [update for update in updates if update.run.key not in done]
                done |= await _written_before(connection, unwritten)
                tried = {update.run.key for update in updates}
                return [
                    done.get(key)
                    or (Unwritten.FENCE_LOST if key in tried else Unwritten.SCHEDULE_LOCKED)
                    for key in (update.run.key for update in wanted)
                ]

    def _update(
        self, result: AttemptResult, now: datetime, bounds: dict[RunKey, RunRecord]
    ) -> RunUpdate:
        run, outcome = result.attempt.run, result.outcome
        if result.handed_back:
            # Before a retry the run keeps its schedule's slot, as while it waited for it.
            waits = run.attempts > 1
            return RunUpdate(
                run=run,
                status="queued",
                now=now,
                retry_at=now if waits else None,
                owned_until=now + self._settings.lease if waits else None,
                http_status=run.http_status,
                error=run.error,
                handed_back=True,
            )
        job = result.attempt.job
        if outcome is None:
            return RunUpdate(run=run, status=result.status, now=now, error=result.reason, job=job)
        retry = None
        if result.retriable:
            chance, next_slot = self._random.random(), bounds[run.key].next_slot
            retry = retry_at(run.attempts, now, next_slot, self._settings.retries, chance)
        status = "success" if outcome.error is None else "error" if retry is None else "queued"
        return RunUpdate(
            run=run,
            status=status,
            now=now,
            retry_at=retry,
            owned_until=retry and retry + self._settings.lease,
            duration_ms=result.duration_ms,
            http_status=outcome.http_status,
            error=outcome.error,
            recorded=retry is None and not result.refused,
            disable=result.disable,
            job=job if retry is None else None,
        )


async def _written_before(
    connection: Connection, updates: Sequence[RunUpdate]
) -> dict[RunKey, RunUpdate]:
    """Return the updates of runs that wait for a retry on the attempt's own fence.

    An earlier try wrote them, and the answer to its COMMIT was lost: their jobs have to wait too.
    """
    jobs = [
        JobPayload(run.tenant_id, run.id, run.schedule_id, run.slot)
        for run in (update.run for update in updates)
    ]
    found = await attempts.load(connection, jobs)
    waiting = {}
    for update in updates:
        run = found.get(update.run.key)
        if run is not None and run.status == "queued" and run.fence == update.run.fence:
            waiting[run.key] = structs.replace(
                update, status="queued", retry_at=run.retry_at, error=run.error, recorded=False
            )
    return waiting


def _with_less(result: AttemptResult, error: Exception) -> AttemptResult:
    """Return a result that the database refuses: without its job, then the least of a run's end."""
    run, job = result.attempt.run, result.attempt.job
    if job is not None:
        log.warning("result refused by the database, perhaps over job %d: %r", job.id, error)
        return structs.replace(result, attempt=structs.replace(result.attempt, job=None))
    log.error("result refused by the database: %r", error, extra=fields(run=run.id))
    return structs.replace(
        result, outcome=CallOutcome(error=RESULT_REFUSED, final=True), disable=False, refused=True
    )


async def _load_invocations(
    connection: Connection, claimed: Sequence[RunRecord]
) -> list[Invocation]:
    if not claimed:
        return []
    return await invocations.load(connection, [(run.tenant_id, run.schedule_id) for run in claimed])
