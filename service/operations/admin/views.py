"""Rows as administrators see them."""

from datetime import datetime
from typing import Any

from contracts.admin_installs import ForeignHandle
from contracts.admin_reads import AuditEntry
from contracts.admin_schedules import AdminScheduleInfo, RunInfo
from contracts.times import wire_time
from service.operations.views import schedule_info
from service.rules.columns import read_container
from service.rules.cron_words import describe
from service.rules.explain import first_hold
from service.rules.planning import UnplannableError
from service.rules.planning import read as read_stored
from service.storage.records.audit import AuditRow
from service.storage.runs.history import RunRow
from service.storage.schedules.admin_search import OwnedSchedule
from service.storage.schedules.adoption import RunnerHandle

MAX_HANDLES = 1000
"""How many handles of other job runners an answer lists."""


def admin_schedule_info(owned: OwnedSchedule) -> AdminScheduleInfo:
    """Return a schedule with its tenant, its install and the job runner that drives it."""
    row, around = owned.schedule, owned.surroundings
    info = schedule_info(row)
    return AdminScheduleInfo(
        **{name: getattr(info, name) for name in info.__struct_fields__},
        tenant_id=owned.tenant_id,
        install_id=str(owned.install_id),
        endpoint_id=None if row.endpoint_id is None else str(row.endpoint_id),
        runner_schedule_id=row.runner_schedule_id,
        held_by=first_hold(
            paused=around.paused,
            install_exists=around.install_exists,
            install_enabled=around.install_enabled,
            enabled=row.enabled,
            endpoint_valid=around.endpoint_valid,
            foreign=row.driven_by_other,
            has_timer=row.next_run_at is not None,
        ),
        job_id=None if row.job_id is None else str(row.job_id),
        driven_by="other" if row.driven_by_other else "scheduler",
        extension=owned.extension,
        words=_words(row.cron, row.timezone),
    )


def _words(cron: str | None, timezone: str | None) -> str | None:
    try:
        expression, _ = read_stored(cron, timezone)
    except UnplannableError:
        return None  # another program wrote the row
    return describe(expression, timezone or "UTC")


def foreign_handle(handle: RunnerHandle) -> ForeignHandle:
    """Return the handle by which another job runner drives a schedule."""
    return ForeignHandle(
        schedule_id=str(handle.schedule_id),
        job_id=None if handle.job_id is None else str(handle.job_id),
        runner_schedule_id=handle.runner_schedule_id,
    )


def run_info(row: RunRow) -> RunInfo:
    """Return a run record."""
    values: dict[str, Any] = {name: getattr(row, name) for name in RunInfo.__struct_fields__}
    for name in ("id", "install_id", "schedule_id"):
        values[name] = str(values[name])
    for name in ("slot", "queued_at", "started_at", "finished_at"):
        values[name] = _time(values[name])
    return RunInfo(**values)


def audit_entry(row: AuditRow) -> AuditEntry:
    """Return an audit entry; the schedule id stands among its changes."""
    changes = read_container(row.changes)
    shown = dict(changes) if isinstance(changes, dict) else {}
    if row.schedule_id is not None:
        shown = {"scheduleId": str(row.schedule_id), **shown}
    return AuditEntry(
        id=str(row.id),
        at=wire_time(row.at),
        tenant_id=row.tenant_id,
        install_id=None if row.install_id is None else str(row.install_id),
        actor=row.actor,
        trigger=row.trigger,
        op=row.op,
        changes=shown,
        request_id=row.request_id,
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else wire_time(at)
