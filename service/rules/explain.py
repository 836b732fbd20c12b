"""Why a schedule does not fire, or what became of one of its slots. Judges; reads nothing."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from contracts.admin_explain import FindingCode, HoldCode
from service.rules.planning import UnplannableError, is_slot, read
from service.rules.slots import latest_slot, next_slot

RECORDS_KEPT = timedelta(days=30)
"""How long run records are kept by default."""
PLANNING_DELAY = timedelta(minutes=1)
"""A timer that is due for longer is not being planned."""
RECENT = timedelta(days=400)
"""How far back the slot before an instant is searched."""


class Change(Struct, frozen=True):
    """When something was switched, by whom, and why where that is known."""

    at: datetime
    by: str | None
    reason: str | None = None


class Switch(Struct, frozen=True):
    """Something that is off ``since`` a change; ``until`` is the change that put it on again."""

    since: Change | None = None
    until: Change | None = None


class TimerState(Struct, frozen=True):
    """A schedule's timer: what it was made from, and the slots that no run accounts for yet."""

    cron: str
    timezone: str
    due_at: datetime
    missed: int


class RunState(Struct, frozen=True):
    """A run record, as far as it explains anything."""

    id: UUID
    slot: datetime
    status: str
    attempts: int
    missed: int
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    retry_at: datetime | None
    worker: str | None
    error: str | None


class ScheduleSituation(Struct, frozen=True, kw_only=True):
    """What is true of a schedule now.

    ``pause``, ``install_off`` and ``schedule_off`` are None where it is not off; ``driven_by`` is
    the handle of another job runner. ``worker_seen`` is when the last worker was seen.
    """

    now: datetime
    cron: str
    timezone: str
    created_at: datetime
    enabled: bool
    last_run_status: str | None
    last_error: str | None
    pause: Change | None
    install_exists: bool
    install_enabled: bool
    install_off: Change | None
    schedule_off: Change | None
    endpoint_valid: bool
    driven_by: str | None
    has_capability: bool
    timer: TimerState | None
    workers_up: int
    worker_seen: datetime | None
    open_run: RunState | None


class SlotSituation(Struct, frozen=True, kw_only=True):
    """What is known of the instant asked about.

    ``cron`` and ``timezone`` are those that the schedule had then; ``following`` is its first run
    after it. The switches are those that were off at that instant. ``gap`` says that the wall time
    asked about did not exist, and ``at`` is the first instant after the gap.
    """

    at: datetime
    cron: str
    timezone: str
    run: RunState | None
    following: RunState | None
    pause: Switch | None
    install_off: Switch | None
    schedule_off: Switch | None
    gap: str | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """One finding; ``holds`` where it keeps the schedule from firing now."""

    code: FindingCode
    text: str
    holds: bool = False
    since: datetime | None = None
    by: str | None = None
    advice: str | None = None
    run_id: UUID | None = None


Findings: TypeAlias = Iterator[Finding]


def first_hold(
    *,
    paused: bool,
    install_exists: bool,
    install_enabled: bool,
    enabled: bool,
    endpoint_valid: bool,
    foreign: bool,
    has_timer: bool,
) -> HoldCode | None:
    """Return the first thing that holds a schedule by its rows alone, None where nothing does."""
    checks: tuple[tuple[bool, HoldCode], ...] = (
        (paused, "tenant_paused"),
        (not install_exists, "install_missing"),
        (not install_enabled, "install_disabled"),
        (not enabled, "schedule_disabled"),
        (not endpoint_valid, "endpoint_missing"),
        (foreign, "driven_by_other"),
        (not has_timer, "timer_missing"),
    )
    return next((code for holds, code in checks if holds), None)


def explain(schedule: ScheduleSituation) -> list[Finding]:
    """Return what holds a schedule now, in the order in which to look at it."""
    findings = [
        *_switches(schedule),
        *(_timing(schedule) if schedule.enabled and schedule.driven_by is None else ()),
        *_run_in_hand(schedule),
        *_remarks(schedule),
    ]
    if not any(finding.holds for finding in findings):
        due_at = None if schedule.timer is None else schedule.timer.due_at
        text = "Nothing holds it" + (f": it fires next at {_utc(due_at)}" if due_at else "")
        findings.insert(0, Finding(code="nothing_holds", text=text))
    return findings


def _switches(schedule: ScheduleSituation) -> Findings:
    if schedule.pause is not None:
        why = f": {schedule.pause.reason}" if schedule.pause.reason else ""
        yield _hold(
            "tenant_paused",
            f"The tenant is paused{why}",
            "Resume the tenant; it then fires from the next slot on",
            schedule.pause,
        )
    if not schedule.install_exists:
        yield _hold(
            "install_missing",
            "The install that the schedule belongs to does not exist",
            "Run reconcile, which removes the schedule",
        )
    elif not schedule.install_enabled:
        yield _hold(
            "install_disabled",
            "The install is disabled",
            "Enable the install; its schedules then fire from their next slot on",
            schedule.install_off,
        )
    if not schedule.enabled:
        error = f": {schedule.last_error}" if schedule.last_error else ""
        yield _hold(
            "schedule_disabled",
            f"The schedule is disabled{error}",
            "Enable the schedule; it then fires from its next slot on",
            schedule.schedule_off,
        )
    if schedule.install_exists and not schedule.endpoint_valid:
        yield _hold(
            "endpoint_missing",
            "The installed version does not declare the endpoint that the schedule calls",
            "Update the install to a version that declares it, or change the schedule's endpoint",
        )
    if schedule.driven_by is not None:
        yield _hold(
            "driven_by_other",
            f"Another job runner drives it ({schedule.driven_by})",
            "Adopt it, and remove it from the other job runner",
        )


def _timing(schedule: ScheduleSituation) -> Findings:
    try:
        read(schedule.cron, schedule.timezone)
    except UnplannableError as error:
        yield _hold(
            "cron_invalid", f"It can never fire: {error}", "Change the schedule's cron or time zone"
        )
        return
    timer = schedule.timer
    if timer is None:
        yield _hold(
            "timer_missing",
            "It has no timer: another program wrote the row",
            "Workers add one within minutes; reconcile does it at once",
        )
        return
    if (timer.cron, timer.timezone) != (schedule.cron, schedule.timezone):
        yield _hold(
            "timer_differs",
            f"Its timer was made from '{timer.cron}' ({timer.timezone}): another program changed"
            " the row",
            f"The timer is recomputed when it is due, at {_utc(timer.due_at)}; changing the"
            " schedule here does it at once",
        )
    overdue = schedule.now - timer.due_at > PLANNING_DELAY
    if schedule.workers_up == 0:
        seen = schedule.worker_seen
        yield Finding(
            code="no_worker_up",
            text="No worker is up" + ("" if seen is None else f": the last was seen {_utc(seen)}"),
            holds=True,
            since=seen,
            advice="Start a worker (`ext-scheduler serve --role worker`)",
        )
    elif overdue:
        yield _hold(
            "timer_overdue",
            f"It is due since {_utc(timer.due_at)}, and no worker has planned it",
            "Look into the workers' log for `planning deferred`",
            Change(timer.due_at, None),
        )


def _run_in_hand(schedule: ScheduleSituation) -> Findings:
    run = schedule.open_run
    if run is None:
        return
    if run.status == "running":
        yield Finding(
            code="run_in_progress",
            text=f"Its run of {_utc(run.slot)} is in progress (attempt {run.attempts}, worker"
            f" {run.worker}): a slot that comes before its end is skipped as an overlap",
            holds=True,
            since=run.started_at,
            advice="Wait for it to end, or make the call shorter than the interval",
            run_id=run.id,
        )
    elif run.attempts:
        when = "" if run.retry_at is None else f" for its retry at {_utc(run.retry_at)}"
        yield Finding(
            code="retry_waiting",
            text=f"Its run of {_utc(run.slot)} waits{when} after {run.attempts} failed"
            f" attempts ({run.error}): a slot that comes before its end is skipped as an overlap",
            holds=True,
            since=run.started_at,
            advice="Look at the run's error; a retry that would come after the next slot is not"
            " made",
            run_id=run.id,
        )
    else:
        yield Finding(
            code="run_waiting",
            text=f"Its run of {_utc(run.slot)} is planned and waits for a worker",
            since=run.queued_at,
            advice="If it waits for long, see whether workers are up and the queue is long",
            run_id=run.id,
        )


def _remarks(schedule: ScheduleSituation) -> Findings:
    if schedule.install_exists and not schedule.has_capability:
        yield Finding(
            code="capability_missing",
            text="The install has lost cap:scheduler.manage: the extension can no longer change"
            " its schedules, and those it has go on firing",
            advice="Grant the capability again, or disable the schedules",
        )
    if schedule.last_run_status == "error" and schedule.enabled:
        yield Finding(
            code="last_run_failed",
            text=f"Its last run failed: {schedule.last_error or 'no error text'}",
            advice="Look at its history; the extension or its Runner has to be mended",
        )


def explain_slot(schedule: ScheduleSituation, slot: SlotSituation) -> list[Finding]:
    """Return what became of the slot asked about."""
    findings = []
    if slot.gap is not None:
        findings.append(Finding(code="slot_skipped_by_clock", text=slot.gap))
    outcome = _outcome(schedule, slot)
    if slot.gap is None or outcome.code != "slot_not_due":
        findings.append(outcome)
    return findings


def _outcome(schedule: ScheduleSituation, slot: SlotSituation) -> Finding:
    if slot.run is not None:
        return _of_run(slot.run)
    at = slot.at
    if at > schedule.now:
        due = is_slot(schedule.cron, schedule.timezone, at)
        what = "is one of its slots" if due else "is not one of its slots"
        return Finding(code="slot_in_future", text=f"{_utc(at)} is in the future, and {what}")
    if at < schedule.created_at:
        return Finding(
            code="slot_before_schedule",
            text=f"{_utc(at)} is before the schedule was created",
            since=schedule.created_at,
        )
    if not is_slot(slot.cron, slot.timezone, at):
        return Finding(code="slot_not_due", text=_not_due(slot))
    switched_off = _switched_off(slot)
    if switched_off is not None:
        return switched_off
    return _unplanned(schedule, slot)


def _of_run(run: RunState) -> Finding:
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
    return Finding(
        code=codes.get(run.status, "slot_in_progress"),
        text=texts[run.status],
        since=run.finished_at or run.started_at or run.queued_at,
        by=run.worker,
        run_id=run.id,
    )


def _switched_off(slot: SlotSituation) -> Finding | None:
    switches: tuple[tuple[Switch | None, FindingCode, str], ...] = (
        (slot.pause, "slot_during_pause", "the tenant was paused"),
        (slot.install_off, "slot_during_install_disabled", "the install was disabled"),
        (slot.schedule_off, "slot_during_schedule_disabled", "the schedule was disabled"),
    )
    for switch, code, what in switches:
        if switch is not None:
            since, until = switch.since, switch.until
            reason = f" ({since.reason})" if since is not None and since.reason else ""
            end = "" if until is None else f", until {_utc(until.at)} by {until.by}"
            return Finding(
                code=code,
                text=f"It did not fire: {what}{reason}{end}. Such slots are not made up",
                since=None if since is None else since.at,
                by=None if since is None else since.by,
            )
    return None


def _unplanned(schedule: ScheduleSituation, slot: SlotSituation) -> Finding:
    at, following = slot.at, slot.following
    if following is not None and following.missed:
        return Finding(
            code="slot_missed",
            text="It was missed: no worker or database was up. The run of"
            f" {_utc(following.slot)} counts it among {following.missed}",
            advice="Look at the service's log of that time",
            run_id=following.id,
        )
    timer = schedule.timer
    if following is None and timer is not None and timer.missed:
        return Finding(
            code="slot_missed",
            text="It was missed: no worker or database was up. The next run will count it",
            advice="Look at the service's log of that time",
        )
    if schedule.now - at > RECORDS_KEPT:
        return Finding(
            code="slot_expired", text="There is no record of it: runs are kept for 30 days"
        )
    if timer is not None and timer.due_at <= at:
        return Finding(
            code="slot_in_progress",
            text="It is due, and has not been planned yet",
            since=timer.due_at,
            advice="If it stays so for more than a minute, see whether a worker is up",
        )
    return Finding(
        code="slot_unaccounted",
        text="Nothing accounts for it: the schedule was changed, or written by another program,"
        " around that time",
        advice="Look at the audit of the install, and run reconcile",
    )


def _not_due(slot: SlotSituation) -> str:
    text = f"{_utc(slot.at)} is not one of its slots"
    try:
        cron, zone = read(slot.cron, slot.timezone)
    except UnplannableError as error:
        return f"{text}: {error}"
    earlier = latest_slot(cron, zone, slot.at - RECENT, slot.at)
    before = "" if earlier is None else f"the one before was {_utc(earlier)}, "
    return f"{text}: {before}the next {_utc(next_slot(cron, zone, slot.at))}"


def _hold(code: FindingCode, text: str, advice: str, change: Change | None = None) -> Finding:
    since, by = (None, None) if change is None else (change.at, change.by)
    return Finding(code=code, text=text, holds=True, since=since, by=by, advice=advice)


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
