"""Turns due timers into queued occurrences. Any number of planners may run concurrently."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from logging import getLogger
from uuid import UUID

import asyncpg
from msgspec import Struct, structs

from service.rules.planning import PlanningRules, SlotCache, UnplannableError
from service.runtime.logs import fields
from service.runtime.metrics import Metrics
from service.storage import consistency
from service.storage.engine import clock
from service.storage.engine.acquire import acquired, index_only_transaction
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_refusal, is_unavailable
from service.storage.runs import occurrences
from service.storage.runs.occurrences import prioritised
from service.storage.schedules import firing_state, missed_slots, timers
from service.storage.schedules.timers import Timer
from service.worker.direct_claims import ClaimBatch, DirectClaims
from service.worker.firing import ClaimTooLateError
from service.worker.outage import Outage
from service.worker.timer_plan import (
    TimerPlan,
    missing_run,
    next_timer,
    plan_timer,
)

log = getLogger(__name__)


class PlannerSettings(Struct, frozen=True):
    """``batch`` timers per transaction; ``poll`` is the longest sleep."""

    batch: int = 1000
    poll: timedelta = timedelta(seconds=2)
    initial_batch: int = 250
    """How many are planned before the others, so that firing begins; then twice as many, and so on
    up to ``batch``."""
    contention_delay: timedelta = timedelta(milliseconds=250)
    """How long to wait when other planners have locked all due timers."""
    acquire_timeout_s: float = 5.0
    rules: PlanningRules = PlanningRules()


class PlanSummary(Struct, frozen=True):
    """The result of one batch. ``unplannable`` are schedules with an invalid row, and why."""

    timers: int = 0
    occurrences: int = 0
    missed: int = 0
    unplannable: dict[tuple[str, UUID], str] = {}
    refused: int = 0
    """Timers that stay due, because the database refuses every write of theirs."""


async def plan_due(
    connection: Connection,
    now: datetime,
    settings: PlannerSettings,
    slot_cache: SlotCache,
    claims: ClaimBatch | None = None,
) -> PlanSummary:
    """Plan a batch of due timers in one transaction, or one by one if the database refuses that.

    ``claims`` is filled with the runs that are claimed at once, to be started after the COMMIT. No
    run is claimed that is planned by itself, or in a batch that took too long for its calls.
    """
    try:
        async with index_only_transaction(connection):
            due = await timers.take_due(connection, now, settings.batch)
            return await _plan(connection, due, now, settings.rules, slot_cache, claims=claims)
    except ClaimTooLateError:
        log.warning("planning took too long to claim, planning again without")
        return await plan_due(connection, now, settings, slot_cache)
    except asyncpg.PostgresError as error:
        if not is_refusal(error):
            raise
        log.warning("batch refused by the database, planning its timers singly: %r", error)
        if claims is not None:
            claims.attempts.clear()
    async with connection.transaction():
        due = await timers.take_due(connection, now, settings.batch)
        summaries = [
            await _plan_alone(connection, timer, now, settings.rules, slot_cache) for timer in due
        ]
    return PlanSummary(
        timers=len(due),
        occurrences=sum(summary.occurrences for summary in summaries),
        missed=sum(summary.missed for summary in summaries),
        unplannable={key: why for s in summaries for key, why in s.unplannable.items()},
        refused=sum(summary.refused for summary in summaries),
    )


async def _plan_alone(
    connection: Connection, timer: Timer, now: datetime, rules: PlanningRules, slot_cache: SlotCache
) -> PlanSummary:
    """Plan a timer within a savepoint. A slot that the database refuses to plan is missed."""
    for plans_run in (True, False):
        try:
            async with connection.transaction():
                return await _plan(connection, [timer], now, rules, slot_cache, plans_run=plans_run)
        except asyncpg.PostgresError as error:
            if not is_refusal(error):
                raise
            log.error(  # noqa: TRY400 - the reason says it all
                "the database refuses to %s: %r",
                "plan a slot, it is missed" if plans_run else "move a timer, it stays due",
                error,
                extra=fields(tenant_id=timer.tenant_id, schedule_id=str(timer.schedule_id)),
            )
    return PlanSummary(refused=1)


async def _plan(
    connection: Connection,
    due: Sequence[Timer],
    now: datetime,
    rules: PlanningRules,
    slot_cache: SlotCache,
    *,
    plans_run: bool = True,
    claims: ClaimBatch | None = None,
) -> PlanSummary:
    """Decide what becomes of each timer, then write occurrences, timers and missed slots.

    Without ``plans_run`` the timers move on, and the slots that would have been planned are missed.
    """
    if not due:
        return PlanSummary()
    unplannable: dict[tuple[str, UUID], str] = {}
    states = await firing_state.read(connection, [timer.key for timer in due])
    plans: list[tuple[Timer, TimerPlan]] = []
    for timer in due:
        state = states.get(timer.key)
        try:
            plan = plan_timer(timer, state, now, rules, slot_cache)
        except UnplannableError as error:
            unplannable[timer.key] = str(error)
        else:
            plans.append((timer, plan if plans_run else missing_run(plan)))
    runs = prioritised([plan.occurrence for _, plan in plans if plan.occurrence])
    claim = None if claims is None else claims.choose(runs)
    planned = await occurrences.plan(connection, runs, now, claim)
    advanced: list[Timer] = []
    moved: list[Timer] = []
    removed = list(unplannable)
    for before, plan in plans:
        if plan.timer is None:
            removed.append(before.key)
        else:
            after = next_timer(plan, planned.new)
            (advanced if after.same_but_when(before) else moved).append(after)
    await timers.advance(connection, advanced)
    await timers.move(connection, moved)
    await timers.remove(connection, removed)
    missed = [(plan.timer, plan.missed) for _, plan in plans if plan.timer and plan.missed]
    await missed_slots.report(connection, missed, now)
    if claims is not None:
        await claims.load(connection, planned.claimed, now)
    return PlanSummary(
        timers=len(due),
        occurrences=len(planned.new),
        missed=sum(plan.missed for _, plan in plans),
        unplannable=unplannable,
    )


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
        self._behind = False
        """Whether the last batch was full, and the next may wait for room."""
        self._outage = Outage()

    async def run(self, stopping: asyncio.Event) -> None:
        """Plan until ``stopping`` is set. Raises what the database raises when it stays lost."""
        while not stopping.is_set():
            wait = await self._round()
            if wait > timedelta(0):
                try:
                    await asyncio.wait_for(stopping.wait(), wait.total_seconds())
                except TimeoutError:
                    continue

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
        await self._wait_for_room()
        async with acquired(self._pool, settings.acquire_timeout_s) as connection:
            now = await self._now(connection)
            due_at = await timers.next_due(connection)
            if due_at is None or due_at > now:
                self._metrics.due_timers.set(0)
                self._limit = settings.initial_batch
                self._behind = False
                return min(due_at - now, settings.poll) if due_at else settings.poll
            summary = await self._plan(connection, now, due_at)
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

    async def _wait_for_room(self) -> None:
        """Wait a little for calls to end if the last batch left due timers behind."""
        if self._behind and self._claims is not None:
            await self._claims.wait_for_room(self._settings.initial_batch)

    async def _plan(self, connection: Connection, now: datetime, due_at: datetime) -> PlanSummary:
        """Plan a batch, which is limited to this worker's room for calls while it keeps pace.

        It keeps pace only until a third of the time has passed after which a slot is late. Beyond
        that it plans whole batches, so that the slots do not become catch-up.
        """
        batch = min(self._limit, self._settings.batch)
        keeps_pace = now - due_at < self._settings.rules.late_after / 3
        if keeps_pace and self._claims and self._claims.room >= self._settings.initial_batch:
            batch = min(batch, self._claims.room)
        limited = structs.replace(self._settings, batch=batch)
        self._limit = 2 * batch
        if self._claims is None:
            summary = await plan_due(connection, now, limited, self._slot_cache)
        else:
            with self._claims.batch() as claims:
                summary = await plan_due(connection, now, limited, self._slot_cache, claims)
        self._behind = keeps_pace and summary.timers == batch
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
