"""A worker: planner, job consumer, firing and maintenance, started and stopped together.

There is no leader: any number may run. The end of any of its loops is the end of the worker, with
the reason, for a supervisor to restart it; a loop that lost its connection first tries to go on.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger

import asyncpg
from msgspec import Struct

from contracts.shared.cancellation import cancel_and_wait
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.engine.errors import describe, is_connection_lost, is_unavailable
from service.storage.runs.queue_listener import ListenerLostError
from service.worker.direct_claims import DirectClaims
from service.worker.firing import FiringSettings, RunExecutor
from service.worker.job_consumer import JobConsumer, JobConsumerSettings
from service.worker.maintenance import Maintenance, MaintenanceSettings
from service.worker.planner import Planner, PlannerSettings
from service.worker.presence import PresenceReporter
from service.worker.runner_client import RunnerClient

log = getLogger(__name__)


LOOP_STOP_TIMEOUT_S = 5.0
"""How long loops may take to end that only wait for a database which no longer answers."""
ABANDON_TIMEOUT_S = 3.0
CANCEL_TIMEOUT_S = 2.0
START_RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0, *[2.0] * 14)
"""Before each further try to prepare, while only locks or a busy database are in the way."""


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """Times in seconds. ``batch`` jobs are claimed at once; ``drain_s`` is for calls in flight."""

    planner: PlannerSettings = PlannerSettings()
    firing: FiringSettings = FiringSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    batch: int = 200
    dequeue_timeout_s: float = 1.0
    heartbeat_s: float = 30.0
    drain_s: float = 35.0


class WorkerEndedError(Exception):
    """The worker cannot go on; the message is one line for a person."""


class Worker:
    """Works with a pool and a client of the Runner; ``run`` it once.

    ``on_finished`` is called for every run that left an event in the outbox.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        client: RunnerClient,
        metrics: Metrics,
        settings: WorkerSettings | None = None,
        *,
        on_finished: Callable[[], None] = lambda: None,
        now: clock.Clock = clock.read,
    ) -> None:
        self._settings = settings = settings or WorkerSettings()
        self._maintenance = Maintenance(pool, metrics, settings.maintenance, now)
        self._executor = RunExecutor(
            pool, client, metrics, settings.firing, on_finished=on_finished, now=now
        )
        metrics.inflight.labels("invocation").set_function(lambda: self._executor.limiter.in_use)
        metrics.expect_runs()
        self._presence = PresenceReporter(
            pool,
            settings.firing.worker,
            settings.firing.in_flight,
            lambda: self._executor.limiter.in_use,
            now,
        )
        self._consumer = JobConsumer(pool, self._executor.execute, _consumer_settings(settings))
        claims = DirectClaims(self._consumer, self._executor, settings.firing)
        self._planner = Planner(pool, metrics, settings.planner, now, claims)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set, then finish the calls in flight and release other jobs.

        Raises WorkerEndedError when it cannot start, and when a loop ended unexpectedly, after the
        others were stopped.
        """
        if await self._prepare(stopping):
            await self._run(stopping)

    async def _prepare(self, stopping: asyncio.Event) -> bool:
        """Prepare for planning, trying again while a lock or the like prevents it.

        Returns False when it was asked to stop meanwhile. Raises WorkerEndedError.
        """
        for delay_s in (*START_RETRY_DELAYS_S, None):
            try:
                await self._maintenance.prepare()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                if delay_s is None or is_connection_lost(error):
                    raise WorkerEndedError(
                        f"the database is unavailable at the start: {describe(error)}"
                    ) from error
                log.warning("start deferred: %r", error)
            else:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), delay_s)
                break
        return False

    async def _run(self, stopping: asyncio.Event) -> None:
        ending = asyncio.Event()
        loops = {
            asyncio.create_task(self._planner.run(ending), name="planner"),
            asyncio.create_task(self._maintenance.run(ending), name="maintenance"),
            asyncio.create_task(self._consumer.run(), name="queue"),
            asyncio.create_task(self._presence.run(ending), name="presence"),
        }
        stop_requested = asyncio.create_task(stopping.wait(), name="stop")
        try:
            done, _ = await asyncio.wait(
                {stop_requested, *loops}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stop_requested.cancel()
            ending.set()
            await self._stop(loops)
        reasons = [_reason(loop) for loop in loops if loop in done or _failed(loop)]
        if reasons and stop_requested in done and not any(map(_faulty, loops)):
            # It was to stop, and has. Jobs that could not be released are taken over.
            log.warning("stopped without the database: %s", "; ".join(reasons))
        elif reasons:
            raise WorkerEndedError("; ".join(reasons))

    async def _stop(self, loops: set[asyncio.Task[None]]) -> None:
        self._executor.stopping = True
        self._consumer.stop()
        drain_s = self._settings.drain_s
        _, slow = await asyncio.wait(loops, timeout=min(LOOP_STOP_TIMEOUT_S, drain_s))
        if slow and self._consumer.running:
            _, slow = await asyncio.wait(slow, timeout=max(drain_s - LOOP_STOP_TIMEOUT_S, 0))
        if slow:
            log.warning("abandoning %d runs in flight", self._consumer.abandon())
            _, stuck = await asyncio.wait(slow, timeout=ABANDON_TIMEOUT_S)
            await cancel_and_wait(stuck, CANCEL_TIMEOUT_S)


def _consumer_settings(settings: WorkerSettings) -> JobConsumerSettings:
    return JobConsumerSettings(
        batch=settings.batch,
        # Jobs beyond the permits are about to be released, or have just been claimed.
        capacity=settings.firing.in_flight + 2 * settings.batch,
        poll_s=settings.dequeue_timeout_s,
        heartbeat_s=settings.heartbeat_s,
        abandoned=settings.firing.lease,
    )


def _failed(loop: asyncio.Task[None]) -> bool:
    return loop.done() and not loop.cancelled() and loop.exception() is not None


def _faulty(loop: asyncio.Task[None]) -> bool:
    """Return whether it ended by a fault of ours, not because the database was unavailable."""
    error = loop.exception() if _failed(loop) else None
    return error is not None and not (isinstance(error, ListenerLostError) or is_unavailable(error))


def _reason(loop: asyncio.Task[None]) -> str:
    error = None if loop.cancelled() or not loop.done() else loop.exception()
    if isinstance(error, ListenerLostError):
        return "the queue's notifications no longer arrive: its listener connection is lost"
    if error is not None and is_unavailable(error):
        return f"the database is lost to the {loop.get_name()} loop: {describe(error)}"
    return f"the {loop.get_name()} loop ended" + (f": {error!r}" if error else "")
