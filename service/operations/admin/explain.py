"""``explain``: why a schedule fires or does not, and what became of one of its slots."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import structs

from contracts import admin_explain as contract
from contracts.capabilities import SCHEDULER
from contracts.errors import Code
from contracts.times import wire_time
from service.operations.admin.transaction import resolve_tenant
from service.operations.context import Answer, Call, field_refusal, refusal
from service.rules import admin_fields
from service.rules.capabilities import effective
from service.rules.cron_words import describe
from service.rules.explain import explain
from service.rules.explain_limits import used_limits
from service.rules.explain_slot import explain_slot
from service.rules.explanation import (
    Change,
    Explanation,
    FailureCount,
    RunState,
    ScheduleSituation,
    SlotSituation,
    Switch,
    TimerState,
)
from service.rules.fields import NOT_FOUND
from service.rules.moments import Moment, read_moment
from service.rules.planning import UnplannableError, read
from service.rules.zones import load
from service.storage.engine import clock
from service.storage.platform import installs, tenants
from service.storage.runs import workers
from service.storage.schedules import admin_search, explanation
from service.storage.schedules.admin_search import OwnedSchedule
from service.storage.schedules.disabling import ScheduleRef
from service.storage.schedules.explanation import Entries, Entry, RunStateRow
from service.storage.schedules.rows import Schedule

IsOn = Callable[[Entry], bool | None]
"""Returns whether an audit entry switched something on or off, None for neither."""


async def explain_schedule(call: Call, request: contract.ExplainInput) -> Answer:
    """Answer what holds a schedule, and what became of the slot that is asked about."""
    owned = await admin_search.one(
        call.connection, resolve_tenant(call, None), UUID(request.schedule_id)
    )
    if owned is None:
        return refusal(Code.NOT_FOUND, NOT_FOUND)
    now = call.policy.clock(await clock.read(call.connection))
    moment = None
    if request.at is not None:
        try:
            moment = read_moment(request.at, _zone(owned), now)
        except (ValueError, OverflowError):
            return field_refusal({"at": admin_fields.invalid("at")})
    ref = ScheduleRef(owned.tenant_id, owned.schedule.id, owned.install_id)
    situation = await _situation(call, owned, ref, now)
    findings = explain(situation)
    if moment is not None:
        slot = await _slot_situation(call, ref, situation, moment)
        findings += explain_slot(situation, slot)
    return _answer(owned, situation, moment, findings)


async def _situation(
    call: Call, owned: OwnedSchedule, ref: ScheduleRef, now: datetime
) -> ScheduleSituation:
    connection, row, around = call.connection, owned.schedule, owned.surroundings
    pause = (await tenants.pauses_of(connection, [ref.tenant_id])).get(ref.tenant_id)
    (install,) = await installs.rights_of(connection, [ref.tenant_id], [ref.install_id])
    capabilities = (
        frozenset()
        if install is None
        else effective(
            install.granted,
            install.providers,
            install.declared,
            declared_is_granted=call.policy.declared_is_granted,
        )
    )
    timer = await explanation.timer(connection, ref)
    seen = await workers.recent(connection)
    switches = await explanation.install_switches(connection, ref, now)
    changes = await explanation.schedule_changes(connection, ref, now)
    return ScheduleSituation(
        now=now,
        cron=row.cron,
        timezone=row.timezone,
        created_at=row.created_at,
        enabled=row.enabled,
        last_run_status=row.last_run_status,
        last_error=row.last_error,
        pause=None if pause is None else Change(pause.paused_at, pause.paused_by, pause.reason),
        install_exists=around.install_exists,
        install_enabled=around.install_enabled,
        install_off=_since(_off(switches, _enabled_of)),
        schedule_off=_since(_off(changes, _enabled_in(ref))),
        endpoint_valid=around.endpoint_valid,
        driven_by=_other_driver(row),
        has_capability=SCHEDULER in capabilities,
        timer=None if timer is None else TimerState(*structs.astuple(timer)),
        workers_up=sum(worker.is_up(now) for worker in seen),
        worker_seen=seen[0].seen_at if seen else None,
        open_run=_run(await explanation.open_run(connection, ref, now)),
        used_up=used_limits(
            call.policy.limits, structs.astuple(await explanation.usage(connection, ref)), now
        ),
        failures=FailureCount(*structs.astuple(await explanation.failures(connection, ref))),
    )


def _other_driver(row: Schedule) -> str | None:
    if not row.driven_by_other:
        return None
    unknown = "the platform, once it gives it a job" if row.job_id is None else "job id"
    return row.runner_schedule_id or unknown


async def _slot_situation(
    call: Call, ref: ScheduleRef, situation: ScheduleSituation, moment: Moment
) -> SlotSituation:
    connection, at = call.connection, moment.at
    changes = await explanation.schedule_changes(connection, ref, at)
    pause = _off(await explanation.pauses(connection, ref, at), _resumed)
    if pause is None and situation.pause is not None and situation.pause.at <= at:
        pause = Switch(situation.pause)
    return SlotSituation(
        at=at,
        cron=_then(changes, "cron") or situation.cron,
        timezone=_then(changes, "timezone") or situation.timezone,
        run=_run(await explanation.run_of_slot(connection, ref, at)),
        following=_run(await explanation.following_run(connection, ref, at)),
        pause=pause,
        install_off=_off(await explanation.install_switches(connection, ref, at), _enabled_of),
        schedule_off=_off(changes, _enabled_in(ref)),
        gap=moment.gap,
    )


def _off(entries: Entries, is_on: IsOn) -> Switch | None:
    """Return the switch that was off between the entries before and after; None if it was on."""
    last = next((entry for entry in entries.before if is_on(entry) is not None), None)
    if last is None or is_on(last):
        return None
    back = next((entry for entry in entries.after if is_on(entry)), None)
    return Switch(_change(last), None if back is None else _change(back))


def _since(switch: Switch | None) -> Change | None:
    return None if switch is None else switch.since


def _change(entry: Entry) -> Change:
    reason = entry.changes.get("reason")
    return Change(entry.at, entry.actor, reason if isinstance(reason, str) else None)


def _resumed(entry: Entry) -> bool | None:
    return not entry.changes.get("paused")


def _enabled_of(entry: Entry) -> bool | None:
    """Return the new value of ``enabled``; entries of the service itself hold (old, new)."""
    value = entry.changes.get("enabled")
    if isinstance(value, list) and value:
        value = value[-1]
    return value if isinstance(value, bool) else None


def _enabled_in(ref: ScheduleRef) -> IsOn:
    def is_on(entry: Entry) -> bool | None:
        disabled = entry.changes.get("disabled")
        if isinstance(disabled, list) and str(ref.schedule_id) in disabled:
            return False
        return _enabled_of(entry)

    return is_on


def _then(changes: Entries, name: str) -> str | None:
    """Return the value that a field had then, as the latest entry before has it."""
    values = (entry.changes.get(name) for entry in changes.before)
    return next((value for value in values if isinstance(value, str)), None)


def _run(row: RunStateRow | None) -> RunState | None:
    return None if row is None else RunState(*structs.astuple(row))


def _zone(owned: OwnedSchedule) -> ZoneInfo:
    zone = load(owned.schedule.timezone.strip()) or load("UTC")
    assert zone is not None  # noqa: S101 - UTC exists
    return zone


def _words(owned: OwnedSchedule) -> str | None:
    try:
        cron, zone = read(owned.schedule.cron, owned.schedule.timezone)
    except UnplannableError:
        return None
    return describe(cron, zone.key)


def _answer(
    owned: OwnedSchedule,
    situation: ScheduleSituation,
    moment: Moment | None,
    findings: list[Explanation],
) -> contract.ExplainOutput:
    due_at = None if situation.timer is None else situation.timer.due_at
    return contract.ExplainOutput(
        schedule_id=str(owned.schedule.id),
        tenant_id=owned.tenant_id,
        install_id=str(owned.install_id),
        name=owned.schedule.name,
        cron=owned.schedule.cron,
        timezone=owned.schedule.timezone,
        words=_words(owned),
        next_run_at=_time(due_at) if situation.enabled else None,
        slot=None if moment is None else _time(moment.at),
        findings=[
            contract.Finding(
                code=finding.code,
                text=finding.text,
                holds=finding.holds,
                since=_time(finding.since),
                by=finding.by,
                advice=finding.advice,
                run_id=None if finding.run_id is None else str(finding.run_id),
            )
            for finding in findings
        ],
    )


def moment_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``explain`` that its field types do not cover, known without the row."""
    text = values.get("at")
    if text is None:
        return {}
    utc = load("UTC")
    assert utc is not None  # noqa: S101 - UTC exists
    try:
        read_moment(text, utc, datetime.now(utc))
    except (ValueError, OverflowError):
        return {"at": admin_fields.invalid("at")}
    return {}


def _time(at: datetime | None) -> str | None:
    return None if at is None else wire_time(at)
