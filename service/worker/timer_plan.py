"""What becomes of a due timer, by its schedule's current state. Pure: all was read before."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct, structs

from service.rules.planning import PlanningRules, SlotCache, spread
from service.storage.runs.occurrences import Occurrence
from service.storage.schedules.firing_state import ScheduleState
from service.storage.schedules.timers import Timer


class TimerPlan(Struct, frozen=True):
    """What becomes of one timer: the timer as it will be, removed where ``timer`` is None."""

    timer: Timer | None
    occurrence: Occurrence | None = None
    missed: int = 0


def plan_timer(
    timer: Timer,
    state: ScheduleState | None,
    now: datetime,
    rules: PlanningRules,
    slot_cache: SlotCache,
) -> TimerPlan:
    """Plan a due timer by its schedule's current state. Raises UnplannableError."""
    if state is None:
        return TimerPlan(None)
    cron, timezone = state.cron or "", state.timezone or "UTC"
    if (cron, timezone) != (timer.cron, timer.timezone) or not state.fires:
        due_at = slot_cache.start_after(timer.schedule_id, cron, timezone, now)
        return TimerPlan(_moved(timer, state, due_at, timer.missed))
    decision = slot_cache.evaluate_due(cron, timezone, timer.due_at, now, rules)
    missed = timer.missed + decision.missed
    occurrence = None
    if decision.slot is not None:
        occurrence = Occurrence(
            tenant_id=timer.tenant_id,
            install_id=state.install_id,
            schedule_id=timer.schedule_id,
            slot=decision.slot.replace(second=0, microsecond=0),
            trigger="catchup" if decision.catchup else "schedule",
            missed=missed,
            next_slot=decision.following,
            delay=spread(timer.schedule_id, rules.catchup_spread)
            if decision.catchup
            else timedelta(0),
        )
    due_at = slot_cache.start(timer.schedule_id, cron, timezone, decision.following)
    return TimerPlan(_moved(timer, state, due_at, missed), occurrence, decision.missed)


def missing_run(plan: TimerPlan) -> TimerPlan:
    """Return the plan without its occurrence, whose slot counts as missed."""
    timer = plan.timer
    if timer is None or plan.occurrence is None:
        return plan
    return TimerPlan(structs.replace(timer, missed=timer.missed + 1), None, plan.missed + 1)


def _moved(timer: Timer, state: ScheduleState, due_at: datetime, missed: int) -> Timer:
    return Timer(
        tenant_id=timer.tenant_id,
        schedule_id=timer.schedule_id,
        install_id=state.install_id,
        cron=state.cron or "",
        timezone=state.timezone or "UTC",
        due_at=due_at,
        missed=missed,
    )


def next_timer(plan: TimerPlan, planned: set[tuple[str, UUID]]) -> Timer:
    """Return the timer as it will be: a new run record takes over its count of missed slots."""
    timer = plan.timer
    assert timer is not None  # noqa: S101 - the caller filtered
    if timer.missed and plan.occurrence is not None and timer.key in planned:
        return structs.replace(timer, missed=0)
    return timer
