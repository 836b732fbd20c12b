"""Turns a batch of due timers into queued occurrences. Any number may be planned concurrently."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from logging import getLogger
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.rules.planning import PlanningRules, SlotCache, UnplannableError
from service.runtime.logs import fields
from service.storage.engine.acquire import index_only_transaction
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_refusal
from service.storage.runs import occurrences
from service.storage.runs.occurrences import prioritised
from service.storage.schedules import firing_state, missed_slots, timers
from service.storage.schedules.timers import Timer
from service.worker.direct_claims import ClaimBatch
from service.worker.firing import ClaimTooLateError
from service.worker.timer_plan import TimerPlan, missing_run, next_timer, plan_timer

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
