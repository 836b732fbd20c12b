"""A worker: planner, consumer and firing, and housekeeping, as one thing that runs and stops.

There is no leader: any number may run. The end of any of its loops is the end of the worker, with
the reason, for a supervisor to start anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from logging import getLogger

import asyncpg
from msgspec import Struct

from service.rules.outcomes import Outcome
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.engine.errors import in_words, is_unavailable
from service.storage.runs.queue_listener import ListenerLostError
from service.worker.firing import Call, Firing, FiringSettings
from service.worker.job_consumer import Consumer, ConsumerSettings
from service.worker.maintenance import Housekeeper, HousekeepingSettings
from service.worker.planner import Planner, PlannerSettings
from service.worker.runner_client import Invoker

log = getLogger(__name__)


LOOPS_S = 5.0
"""How long loops may take to end that only wait for a database which no longer answers."""
ABANDONED_S = 3.0
CANCELLED_S = 2.0


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """Times in seconds. ``batch`` jobs are taken at once; ``drain_s`` is for calls in flight."""

    planner: PlannerSettings = PlannerSettings()
    firing: FiringSettings = FiringSettings()
    housekeeping: HousekeepingSettings = HousekeepingSettings()
    batch: int = 200
    dequeue_timeout_s: float = 1.0
    heartbeat_s: float = 30.0
    drain_s: float = 35.0


class WorkerEndedError(Exception):
    """The worker cannot go on; the message is one line for a person."""


class Worker:
    """Give it a pool and what calls the Runner, and ``run`` it once.

    ``ended`` is told of every run that left an event in the outbox.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        invoker: Invoker,
        metrics: Metrics,
        settings: WorkerSettings | None = None,
        *,
        ended: Callable[[], None] = lambda: None,
        now: clock.Clock = clock.read,
    ) -> None:
        self._settings = settings = settings or WorkerSettings()
        self._planner = Planner(pool, metrics, settings.planner, now)
        self._housekeeper = Housekeeper(pool, metrics, settings.housekeeping, now)
        self._firing = Firing(
            pool,
            _invoke(invoker),
            metrics,
            settings.firing,
            reachable=lambda: invoker.reachable,
            ended=ended,
            now=now,
        )
        metrics.inflight.labels("invocation").set_function(lambda: self._firing.seats.taken)
        metrics.expect_runs()
        self._consumer = Consumer(pool, self._firing.fire, _consuming(settings))

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set, then finish what is in flight and hand back the rest.

        Raises WorkerEndedError when a loop ended by itself, after the others were stopped.
        """
        try:
            await self._housekeeper.prepare()
        except Exception as error:
            if not is_unavailable(error):
                raise
            raise WorkerEndedError(
                f"the database is lost at the start: {in_words(error)}"
            ) from error
        await self._run(stopping)

    async def _run(self, stopping: asyncio.Event) -> None:
        ending = asyncio.Event()
        loops = {
            asyncio.create_task(self._planner.run(ending), name="planner"),
            asyncio.create_task(self._housekeeper.run(ending), name="housekeeping"),
            asyncio.create_task(self._consumer.run(), name="queue"),
        }
        told = asyncio.create_task(stopping.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({told, *loops}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            ending.set()
            await self._stop(loops)
        reasons = [_reason(loop) for loop in loops if loop in done or _failed(loop)]
        if reasons and told in done and not any(map(_faulty, loops)):
            # It was told to end, and has. What could not be handed back is taken over.
            log.warning("stopped without the database: %s", "; ".join(reasons))
        elif reasons:
            raise WorkerEndedError("; ".join(reasons))

    async def _stop(self, loops: set[asyncio.Task[None]]) -> None:
        self._firing.stopping = True
        self._consumer.stop()
        drain_s = self._settings.drain_s
        _, slow = await asyncio.wait(loops, timeout=min(LOOPS_S, drain_s))
        if slow and self._consumer.in_hand:
            _, slow = await asyncio.wait(slow, timeout=max(drain_s - LOOPS_S, 0))
        if slow:
            log.warning("giving up %d runs in flight", self._consumer.abandon())
            _, stuck = await asyncio.wait(slow, timeout=ABANDONED_S)
            for loop in stuck:
                loop.cancel()
            if stuck:
                await asyncio.wait(stuck, timeout=CANCELLED_S)


def _consuming(settings: WorkerSettings) -> ConsumerSettings:
    return ConsumerSettings(
        batch=settings.batch,
        # What is over the seats is on its way back, or only just taken.
        capacity=settings.firing.in_flight + 2 * settings.batch,
        poll_s=settings.dequeue_timeout_s,
        heartbeat_s=settings.heartbeat_s,
        abandoned=settings.firing.lease,
    )


def _invoke(invoker: Invoker) -> Callable[[Call], Awaitable[Outcome]]:
    def invoke(call: Call) -> Awaitable[Outcome]:
        return invoker.call(
            call.request,
            idempotency_key=call.idempotency_key,
            at=call.at,
            timeout_s=call.timeout_s,
        )

    return invoke


def _failed(loop: asyncio.Task[None]) -> bool:
    return loop.done() and not loop.cancelled() and loop.exception() is not None


def _faulty(loop: asyncio.Task[None]) -> bool:
    """Whether it ended by a fault of ours, and not because it lost the database."""
    error = loop.exception() if _failed(loop) else None
    return error is not None and not (isinstance(error, ListenerLostError) or is_unavailable(error))


def _reason(loop: asyncio.Task[None]) -> str:
    error = None if loop.cancelled() or not loop.done() else loop.exception()
    if isinstance(error, ListenerLostError):
        return "the queue's notifications no longer arrive: its listener connection is lost"
    if error is not None and is_unavailable(error):
        return f"the database is lost to the {loop.get_name()} loop: {in_words(error)}"
    return f"the {loop.get_name()} loop ended" + (f": {error!r}" if error else "")
