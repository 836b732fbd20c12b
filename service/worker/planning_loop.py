"""Plans batch after batch of due timers, and sleeps while nothing is due."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from logging import getLogger

import asyncpg
from msgspec import structs

from contracts.shared.cancellation import cancel_and_wait
from service.rules.planning import SlotCache
from service.runtime.logs import fields
from service.runtime.metrics import Metrics
from service.storage import consistency
from service.storage.engine import clock
from service.storage.engine.acquire import acquired
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_unavailable
from service.storage.schedules import timers
from service.worker.direct_claims import ClaimBatch, DirectClaims
from service.worker.outage import Outage
from service.worker.planner import PlannerSettings, PlanSummary, plan_due

log = getLogger(__name__)


class Planner:
    """Plans due timers, and sleeps until the earliest due instant that it knows of."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        metrics: Metrics,
        settings: PlannerSettings | None = None,
        now: clock.Clock = clock.read,
        claims: DirectClaims | None = None,
    ) -> None:
        self._pool = pool
        self._claims = claims
        self._metrics = metrics
        self._settings = settings or PlannerSettings()
        self._now = now
        self._slot_cache = SlotCache(spread=self._settings.rules.spread)
        self._limit = self._settings.initial_batch
        self._more_due = False
        """Whether the last batch was full, so that more is due."""
        self._keeps_pace = False
        """Whether the next batch may wait for room."""
        self._outage = Outage()

    async def run(self, stopping: asyncio.Event) -> None:
        """Plan until ``stopping`` is set. Raises what the database raises when it stays lost.

        While more is due than a batch, two are planned concurrently: this process works for one
        while the database works for the other, or writes it to disk.
        """
        second: asyncio.Task[None] | None = None
        try:
            while not stopping.is_set():
                wait = await self._round()
                if second and second.done():
                    second.result()
                    second = None
                if wait > timedelta(0):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stopping.wait(), wait.total_seconds())
                elif self._more_due and second is None:
                    second = asyncio.create_task(self._plan_what_is_left(stopping))
            if second:
                await second
        finally:
            if second:
                await cancel_and_wait({second})

    async def _plan_what_is_left(self, stopping: asyncio.Event) -> None:
        while self._more_due and not stopping.is_set():
            if await self._round() > timedelta(0):
                return

    async def _round(self) -> timedelta:
        try:
            wait = await self.plan_once()
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("planning deferred: %r", error)
            return self._outage.retry_delay(error) or self._settings.contention_delay
        self._outage.over()
        return wait

    async def plan_once(self) -> timedelta:
        """Plan one batch if a timer is due; return the time to wait before the next."""
        settings = self._settings
        async with (
            self._claim_batch() as claims,
            acquired(self._pool, settings.acquire_timeout_s) as connection,
        ):
            now = await self._now(connection)
            due_at = await timers.next_due(connection)
            if due_at is None or due_at > now:
                self._metrics.due_timers.set(0)
                self._limit = settings.initial_batch
                self._more_due = False
                return min(due_at - now, settings.poll) if due_at else settings.poll
            summary = await self._plan(connection, now, due_at, claims)
            await self._report_unplannable(connection, summary)
        self._metrics.missed_slots.inc(summary.missed)
        if summary.timers == 0:
            return settings.contention_delay
        log.info(
            "planned",
            extra=fields(
                timers=summary.timers, occurrences=summary.occurrences, missed=summary.missed
            ),
        )
        return settings.poll if summary.refused else timedelta(0)

    @asynccontextmanager
    async def _claim_batch(self) -> AsyncIterator[ClaimBatch | None]:
        """Reserve room for a batch, None where there is none.

        Waits a little for calls to end if the last batch left due timers behind.
        """
        if self._claims is None:
            yield None
            return
        if self._more_due and self._keeps_pace:
            await self._claims.wait_for_room(self._settings.initial_batch)
        with self._claims.batch(min(self._limit, self._settings.batch)) as claims:
            yield claims if claims.reserved else None

    async def _plan(
        self, connection: Connection, now: datetime, due_at: datetime, claims: ClaimBatch | None
    ) -> PlanSummary:
        """Plan a batch, which is limited to the room reserved for it while this worker keeps pace.

        It keeps pace only until a third of the time has passed after which a slot is late. Beyond
        that it plans whole batches, so that the slots do not become catch-up.
        """
        batch = min(self._limit, self._settings.batch)
        self._keeps_pace = now - due_at < self._settings.rules.late_after / 3
        if self._keeps_pace and claims and claims.reserved >= self._settings.initial_batch:
            batch = min(batch, claims.reserved)
        limited = structs.replace(self._settings, batch=batch)
        self._limit = 2 * batch
        summary = await plan_due(connection, now, limited, self._slot_cache, claims)
        self._more_due = summary.timers == batch
        return summary

    async def _report_unplannable(self, connection: Connection, summary: PlanSummary) -> None:
        # After the transaction of the planning: schedule rows are locked before timers everywhere.
        for (tenant_id, schedule_id), why in summary.unplannable.items():
            log.warning(
                "schedule cannot be planned: %s",
                why,
                extra=fields(tenant_id=tenant_id, schedule_id=str(schedule_id)),
            )
        await consistency.set_last_errors(connection, summary.unplannable)
