"""One job, from its ticket to its end: claim, load, decide, call, write."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from logging import INFO, getLogger
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import Struct

from contracts.execution import ExecuteRequest
from service.flow_control.fair_limiter import Seats
from service.flow_control.micro_batcher import Gather
from service.rules.outcomes import Outcome
from service.runtime.logs import fields
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.engine.errors import is_unavailable
from service.storage.runs.attempts import Ended
from service.storage.runs.queue import Ticket
from service.worker.firing.attempt_store import Begun, Finished, Later, Ledger, Settled
from service.worker.firing.decision import Fail, Skip, decide
from service.worker.firing.settings import STEP_S, FiringSettings

log = getLogger(__name__)

BUS_AWAY = timedelta(seconds=1)
DATABASE_AWAY = timedelta(seconds=1)


class Call(Struct, frozen=True):
    """A request to be made. ``at`` is the database's time now, in Unix seconds."""

    request: ExecuteRequest
    idempotency_key: UUID
    at: float
    timeout_s: float


Invoke = Callable[[Call], Awaitable[Outcome]]
"""Makes the call and says what came of it; raises nothing."""


class Firing:
    """Carries out runs. ``reachable`` tells whether calls can be made at all just now."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        invoke: Invoke,
        metrics: Metrics,
        settings: FiringSettings,
        *,
        reachable: Callable[[], bool] = lambda: True,
        ended: Callable[[], None] = lambda: None,
        now: clock.Clock = clock.read,
    ) -> None:
        ledger = Ledger(pool, settings, now)
        size, wait_s = settings.gather, settings.gather_wait_s
        self.seats = Seats(settings.in_flight)
        self.stopping = False
        self._begin = Gather(
            ledger.begin,
            key=lambda ticket: (ticket.tenant_id, ticket.schedule_id),
            size=size,
            wait_s=wait_s,
            lanes=settings.gather_lanes,
        )
        self._end = Gather(
            ledger.end,
            key=lambda each: each.begun.run.key,
            size=size,
            wait_s=wait_s,
            lanes=settings.gather_lanes,
        )
        self._invoke = invoke
        self._metrics = metrics
        self._settings = settings
        self._reachable = reachable
        self._ended = ended

    async def fire(self, ticket: Ticket) -> timedelta | None:
        """Carry out an attempt of a run.

        Returns None when the job has done its work, else after how long it is to be taken again.
        """
        if self.stopping:
            return timedelta(0)
        if not self._reachable():
            return BUS_AWAY
        if not await self.seats.take(ticket.tenant_id, self._settings.seat_patience_s):
            return timedelta(seconds=self.seats.defer(ticket.tenant_id))
        since = monotonic()
        try:
            finished = await self._attempt(ticket)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("run not begun: %r", error, extra=fields(run=ticket.run_id))
            return DATABASE_AWAY
        finally:
            self.seats.release(ticket.tenant_id, monotonic() - since)
        if not isinstance(finished, Finished):
            return finished
        return self._account(finished, await self._end.add(finished))

    async def _attempt(self, ticket: Ticket) -> Finished | timedelta | None:
        # The seat may have come long after the question: nothing is begun while stopping.
        begun = Later(timedelta(0)) if self.stopping else await self._begin.add(ticket)
        if not isinstance(begun, Begun):
            return begun.delay if isinstance(begun, Later) else None
        if begun.lost is not None or begun.found is None:
            outcome = Outcome(begun.run.http_status, begun.lost, final=True)
            return Finished(begun=begun, outcome=outcome)
        decision = decide(
            begun.run,
            begun.found,
            holding=begun.holding,
            timeout_ms=int(self._settings.runner_timeout_s * 1000),
            declared_is_granted=self._settings.declared_is_granted,
        )
        if isinstance(decision, Skip):
            return Finished(begun=begun, status=decision.status)
        if isinstance(decision, Fail):
            outcome = Outcome(decision.http_status, decision.error, final=True)
            return Finished(begun=begun, outcome=outcome, disable=decision.disable)
        return await self._call(begun, decision.request)

    async def _call(self, begun: Begun, request: ExecuteRequest) -> Finished | timedelta:
        started = monotonic()
        late_s = started - begun.since
        if late_s > STEP_S:
            # This process stood still. The lease would end before the answer comes, so the run is
            # left to whoever takes it when it has.
            return self._settings.lease
        run = begun.run
        if run.kind == "scheduled" and run.attempts == 1:
            lateness = (begun.now - run.slot).total_seconds() + late_s
            self._metrics.fire_lateness.observe(max(lateness, 0.0))
        outcome = await self._invoke(
            Call(
                request=request,
                idempotency_key=run.id,
                at=begun.now.timestamp() + late_s,
                timeout_s=self._settings.call_timeout_s,
            )
        )
        took_s = monotonic() - started
        self._metrics.run_duration.observe(took_s)
        return Finished(
            begun=begun,
            outcome=outcome,
            duration_ms=round(took_s * 1000),
            request_id=request.context.request_id,
        )

    def _account(self, finished: Finished, settled: Settled) -> timedelta | None:
        run, ended = finished.begun.run, settled.ended
        if ended is None:
            log.warning(
                "run was taken over; its end here counts for nothing",
                extra=fields(run=run.id, attempt=run.attempts),
            )
            return None
        if log.isEnabledFor(INFO):
            log.info("run", extra=_known(ended, finished.request_id))
        if ended.status == "queued":
            self._metrics.retries.inc()
            return settled.delay
        self._metrics.ended(run.trigger, ended.status)
        if ended.recorded:
            self._ended()
        return None


def _known(ended: Ended, request_id: str | None) -> dict[str, dict[str, Any]]:
    run = ended.run
    return fields(
        outcome=ended.status,
        tenant=run.tenant_id,
        install=run.install_id,
        schedule=run.schedule_id,
        run=run.id,
        request_id=request_id,
        trigger=run.trigger,
        attempt=run.attempts,
        duration_ms=ended.duration_ms,
        http_status=ended.http_status,
        # What the extension answered may repeat its payload: that is in the run record alone.
        error=ended.error if ended.http_status is None else None,
    )
