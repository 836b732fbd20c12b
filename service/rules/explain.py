"""Why a schedule does not fire, or what became of one of its slots. Judges; reads nothing."""

from datetime import timedelta

from contracts.admin_explain import FindingCode, HoldCode
from service.rules.explanation import Change, Explanation, Findings, ScheduleSituation, in_utc
from service.rules.planning import UnplannableError, read

NO_RUNNER = "No Runner is listening"
"""How the error of a call begins that no Runner took."""
PLANNING_DELAY = timedelta(minutes=1)
"""A timer that has been due for longer than this is not being planned."""


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


def explain(schedule: ScheduleSituation) -> list[Explanation]:
    """Return what holds a schedule now, in the order in which to look at it."""
    findings = [
        *_switches(schedule),
        *(_timing(schedule) if schedule.enabled and schedule.driven_by is None else ()),
        *_run_in_hand(schedule),
        *_remarks(schedule),
    ]
    if not any(finding.holds for finding in findings):
        due_at = None if schedule.timer is None else schedule.timer.due_at
        text = "Nothing holds it" + (f": it fires next at {in_utc(due_at)}" if due_at else "")
        findings.insert(0, Explanation(code="nothing_holds", text=text))
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
        reason = None if schedule.schedule_off is None else schedule.schedule_off.reason
        cause = reason or schedule.last_error
        mend = "Mend what fails (its history has each error), then enable"
        yield _hold(
            "schedule_disabled",
            f"The schedule is disabled{f': {cause}' if cause else ''}",
            ("Enable" if schedule.failures.disabled_after is None else mend)
            + " the schedule; it then fires from its next slot on",
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
            f"The timer is recomputed when it is due, at {in_utc(timer.due_at)}; changing the"
            " schedule here does it at once",
        )
    overdue = schedule.now - timer.due_at > PLANNING_DELAY
    if schedule.workers_up == 0:
        seen = schedule.worker_seen
        yield Explanation(
            code="no_worker_up",
            text="No worker is up"
            + ("" if seen is None else f": the last was seen {in_utc(seen)}"),
            holds=True,
            since=seen,
            advice="Start a worker (`ext-scheduler serve --role worker`)",
        )
    elif overdue:
        yield _hold(
            "timer_overdue",
            f"It is due since {in_utc(timer.due_at)}, and no worker has planned it",
            "Look into the workers' log for `planning deferred`",
            Change(timer.due_at, None),
        )


def _run_in_hand(schedule: ScheduleSituation) -> Findings:
    run = schedule.open_run
    if run is None:
        return
    if run.status == "running":
        yield Explanation(
            code="run_in_progress",
            text=f"Its run of {in_utc(run.slot)} is in progress (attempt {run.attempts}, worker"
            f" {run.worker}): a slot that comes before its end is skipped as an overlap",
            holds=True,
            since=run.started_at,
            advice="Wait for it to end, or make the call shorter than the interval",
            run_id=run.id,
        )
    elif run.attempts:
        when = "" if run.retry_at is None else f" for its retry at {in_utc(run.retry_at)}"
        yield Explanation(
            code="retry_waiting",
            text=f"Its run of {in_utc(run.slot)} waits{when} after {run.attempts} failed"
            f" attempts ({run.error}): a slot that comes before its end is skipped as an overlap",
            holds=True,
            since=run.started_at,
            advice="Look at the run's error; a retry that would come after the next slot is not"
            " made",
            run_id=run.id,
        )
    else:
        yield Explanation(
            code="run_waiting",
            text=f"Its run of {in_utc(run.slot)} is planned and waits for a worker",
            since=run.queued_at,
            advice="If it waits for long, see whether workers are up and the queue is long",
            run_id=run.id,
        )


def _runner_away(schedule: ScheduleSituation) -> bool:
    """Return whether its latest call found no Runner."""
    run = schedule.open_run
    error = run.error if run is not None and run.attempts else schedule.last_error
    return (error or "").startswith(NO_RUNNER)


def _remarks(schedule: ScheduleSituation) -> Findings:
    if schedule.enabled and _runner_away(schedule):
        run = schedule.open_run
        yield Explanation(
            code="runner_away",
            text=f"Its latest call found no Runner: {(run and run.error) or schedule.last_error}",
            since=None if run is None else run.started_at,
            advice="Start a bridge (`ext-scheduler bridge`) in the tenant's Runner pool; it is"
            " called again at the next retry or slot",
            run_id=None if run is None else run.id,
        )
    if schedule.install_exists and not schedule.has_capability:
        yield Explanation(
            code="capability_missing",
            text="The install has lost cap:scheduler.manage: the extension can no longer change"
            " its schedules, and those it has go on firing",
            advice="Grant the capability again, or disable the schedules",
        )
    for limit in schedule.used_up:
        yield Explanation(code=limit.code, text=limit.text, advice=limit.advice)
    failing_since = schedule.failures.failing_since
    if failing_since is not None:
        yield Explanation(
            code="schedule_failing",
            text=f"It is failing: its last {schedule.failures.failures} runs failed, the latest"
            f" with: {schedule.last_error or 'no error text'}",
            since=failing_since,
            advice="Look at its history; the extension or its Runner has to be mended",
        )
    elif schedule.last_run_status == "error" and schedule.enabled and not _runner_away(schedule):
        yield Explanation(
            code="last_run_failed",
            text=f"Its last run failed: {schedule.last_error or 'no error text'}",
            advice="Look at its history; the extension or its Runner has to be mended",
        )


def _hold(code: FindingCode, text: str, advice: str, change: Change | None = None) -> Explanation:
    since, by = (None, None) if change is None else (change.at, change.by)
    return Explanation(code=code, text=text, holds=True, since=since, by=by, advice=advice)
