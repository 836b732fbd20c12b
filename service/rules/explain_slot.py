"""What became of a slot of a schedule. Judges; reads nothing."""

from datetime import UTC, datetime, timedelta

from msgspec import structs

from contracts.admin_explain import FindingCode
from service.rules.explanation import (
    Explanation,
    RunState,
    ScheduleSituation,
    SlotSituation,
    Switch,
    in_utc,
)
from service.rules.planning import UnplannableError, is_slot, read, slot_of_timer
from service.rules.slots import is_slot_of, latest_slot, next_slot

RECORDS_KEPT = timedelta(days=30)
"""How long run records are kept by default."""
RECENT = timedelta(days=400)
"""How far back the slot before an instant is searched for."""


def explain_slot(schedule: ScheduleSituation, slot: SlotSituation) -> list[Explanation]:
    """Return what became of the slot asked about."""
    findings = []
    if slot.gap is not None:
        findings.append(Explanation(code="slot_skipped_by_clock", text=slot.gap))
    outcome = _outcome(schedule, slot)
    if slot.gap is None or outcome.code != "slot_not_due":
        findings.append(structs.replace(outcome, text=outcome.text + _shown_twice(slot)))
    return findings


def _outcome(schedule: ScheduleSituation, slot: SlotSituation) -> Explanation:
    if slot.run is not None:
        return _of_run(slot.run)
    at = slot.at
    if at > schedule.now:
        due = is_slot(schedule.cron, schedule.timezone, at)
        what = "is one of its slots" if due else "is not one of its slots"
        return Explanation(code="slot_in_future", text=f"{in_utc(at)} is in the future, and {what}")
    if at < schedule.created_at:
        return Explanation(
            code="slot_before_schedule",
            text=f"{in_utc(at)} is before the schedule was created",
            since=schedule.created_at,
        )
    if not is_slot(slot.cron, slot.timezone, at):
        return Explanation(code="slot_not_due", text=_not_due(slot))
    return _spread(schedule, at) or _switched_off(slot) or _unplanned(schedule, slot)


def _spread(schedule: ScheduleSituation, at: datetime) -> Explanation | None:
    timer = schedule.timer
    if timer is None or timer.due_at <= schedule.now:
        return None
    if slot_of_timer(timer.cron, timer.timezone, timer.due_at) != at:
        return None
    return Explanation(
        code="slot_in_progress",
        text=f"It is due, and its run starts at {timer.due_at:%H:%M:%S} UTC: starts of one slot are"
        " spread (`spread_s`)",
        since=at,
    )


def _of_run(run: RunState) -> Explanation:
    codes: dict[str, FindingCode] = {
        "success": "slot_ran",
        "error": "slot_failed",
        "skipped": "slot_skipped",
        "skipped_overlap": "slot_skipped",
    }
    texts = {
        "success": "It ran, and succeeded",
        "error": f"It ran, and failed after {run.attempts} attempts: {run.error}",
        "skipped": f"It was skipped: {run.error or 'disabled, paused or deleted by then'}",
        "skipped_overlap": "It was skipped, because another run of the schedule was in progress or"
        " waited for its retry",
        "running": f"It is running (attempt {run.attempts}, worker {run.worker})",
        "queued": "It is planned, and waits for a worker or its retry",
    }
    return Explanation(
        code=codes.get(run.status, "slot_in_progress"),
        text=texts[run.status],
        since=run.finished_at or run.started_at or run.queued_at,
        by=run.worker,
        run_id=run.id,
    )


def _switched_off(slot: SlotSituation) -> Explanation | None:
    switches: tuple[tuple[Switch | None, FindingCode, str], ...] = (
        (slot.pause, "slot_during_pause", "the tenant was paused"),
        (slot.install_off, "slot_during_install_disabled", "the install was disabled"),
        (slot.schedule_off, "slot_during_schedule_disabled", "the schedule was disabled"),
    )
    for switch, code, what in switches:
        if switch is not None:
            since, until = switch.since, switch.until
            reason = f" ({since.reason})" if since is not None and since.reason else ""
            end = "" if until is None else f", until {in_utc(until.at)} by {until.by}"
            return Explanation(
                code=code,
                text=f"It did not fire: {what}{reason}{end}. Such slots are not made up",
                since=None if since is None else since.at,
                by=None if since is None else since.by,
            )
    return None


def _unplanned(schedule: ScheduleSituation, slot: SlotSituation) -> Explanation:
    at, following = slot.at, slot.following
    if following is not None and following.missed:
        return Explanation(
            code="slot_missed",
            text="It was missed: no worker or database was up. The run of"
            f" {in_utc(following.slot)} counts it among {following.missed}",
            advice="Look at the service's log of that time",
            run_id=following.id,
        )
    timer = schedule.timer
    if following is None and timer is not None and timer.missed:
        return Explanation(
            code="slot_missed",
            text="It was missed: no worker or database was up. The next run will count it",
            advice="Look at the service's log of that time",
        )
    if schedule.now - at > RECORDS_KEPT:
        return Explanation(
            code="slot_expired", text="There is no record of it: runs are kept for 30 days"
        )
    if timer is not None and timer.due_at <= at:
        return Explanation(
            code="slot_in_progress",
            text="It is due, and has not been planned yet",
            since=timer.due_at,
            advice="If it stays so for more than a minute, see whether a worker is up",
        )
    return Explanation(
        code="slot_unaccounted",
        text="Nothing accounts for it: the schedule was changed, or written by another program,"
        " around that time",
        advice="Look at the audit of the install, and run reconcile",
    )


def _shown_twice(slot: SlotSituation) -> str:
    """Return which time it is where the clock shows the slot's wall time twice, else nothing."""
    try:
        cron, zone = read(slot.cron, slot.timezone)
    except UnplannableError:
        return ""
    wall = slot.at.astimezone(zone)
    first, second = (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second or not is_slot_of(cron, zone, first):
        return ""
    shown = f". The clock shows {wall:%H:%M} twice on {wall:%Y-%m-%d} in {zone.key}"
    which = (
        f"this is the first time, the second is {in_utc(second)}"
        if slot.at < second
        else f"this is the second time, the first is {in_utc(first)}"
    )
    fires = "both are slots" if is_slot_of(cron, zone, second) else "only the first is a slot"
    return f"{shown}: {which}; {fires}"


def _not_due(slot: SlotSituation) -> str:
    text = f"{in_utc(slot.at)} is not one of its slots"
    try:
        cron, zone = read(slot.cron, slot.timezone)
    except UnplannableError as error:
        return f"{text}: {error}"
    earlier = latest_slot(cron, zone, slot.at - RECENT, slot.at)
    before = "" if earlier is None else f"the one before was {in_utc(earlier)}, "
    return f"{text}: {before}the next {in_utc(next_slot(cron, zone, slot.at))}"
