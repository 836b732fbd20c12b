"""Creating, updating and deleting one schedule of a locked install, for host and administrators."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from msgspec import UNSET, UnsetType

from contracts.errors import Code, ErrorBody
from contracts.events import EventType
from contracts.schedules import CreateOutput, DeleteOutput, UpdateOutput
from service.operations.change_context import AppliedChange, ChangeContext, check_change_rate
from service.operations.context import field_refusal, refusal
from service.rules import payload
from service.rules.cron import Cron, InvalidCronError, parse
from service.rules.endpoints import NOT_SCHEDULABLE
from service.rules.fields import (
    CREATE_FIELDS,
    INVALID_TIMEZONE,
    NAME_TAKEN,
    NOT_FOUND,
    UPDATE_FIELDS,
    CheckedCreate,
    CheckedId,
    CheckedUpdate,
    order_errors,
)
from service.rules.limits import too_many_schedules
from service.rules.planning import start_of
from service.rules.slots import next_slot
from service.rules.zones import load
from service.storage.schedules import rows
from service.storage.schedules.rows import NewSchedule, Schedule

T = TypeVar("T")

DRIVEN_BY_OTHER = "Schedule is driven by another job runner until it is adopted"
TIMING = frozenset({"cron", "timezone", "enabled"})


def new_schedule(checked: CheckedCreate, context: ChangeContext) -> AppliedChange | ErrorBody:
    """Return the schedule that is to be inserted, or what is wrong: fields, rate, quota."""
    errors = dict(checked.errors)
    endpoint_id = _resolve(context, checked, errors, has_payload=checked.payload is not None)
    if checked.name is not None and context.lookup.name_holder is not None:
        errors["name"] = NAME_TAKEN
    if errors or endpoint_id is None or checked.cron is None:
        return _field_errors(errors, CREATE_FIELDS)
    check_change_rate(context)
    limit = context.call.policy.limits.max_schedules
    if context.lookup.schedules >= limit:
        return refusal(Code.QUOTA_EXCEEDED, too_many_schedules(limit))
    new = new_row(checked, endpoint_id, context.now, context.call.policy.spread)
    answer = CreateOutput(success=True, schedule_id=str(new.id))
    return AppliedChange(answer, new.id, EventType.SCHEDULE_CREATED, _described(new), new)


def new_row(
    checked: CheckedCreate, endpoint_id: UUID | None, now: datetime, spread: timedelta
) -> NewSchedule:
    """Make the row of a new schedule from an input without errors, due at its next start."""
    assert checked.cron is not None  # noqa: S101 - the input has no errors
    id_, zone = uuid4(), load(checked.timezone)
    assert zone is not None  # noqa: S101 - the name was checked as a field
    return NewSchedule(
        id=id_,
        endpoint_id=endpoint_id,
        name=checked.name,
        cron=checked.cron.text,
        timezone=checked.timezone,
        enabled=checked.enabled,
        payload=None if checked.payload is None else payload.to_json(checked.payload),
        due_at=_due(id_, checked.cron, zone, now, spread) if checked.enabled else None,
    )


async def update_schedule(
    checked: CheckedUpdate, context: ChangeContext, *, adopt: bool = False
) -> AppliedChange | ErrorBody:
    """Write the given fields, or return what is wrong: fields, existence, revision, then rate.

    A schedule that another job runner drives is changed only where the caller may ``adopt`` it.
    """
    stored = context.lookup.schedule
    errors = dict(checked.errors)
    endpoint_id = _resolve(context, checked, errors, has_payload=_has_payload(checked, stored))
    holder = context.lookup.name_holder
    if checked.name and holder is not None and holder != checked.schedule_id:
        errors["name"] = NAME_TAKEN
    merged = None if stored is None else _merge(checked, stored, endpoint_id, context, errors)
    if errors:
        return _field_errors(errors, UPDATE_FIELDS)
    if stored is None or merged is None:
        return refusal(Code.NOT_FOUND, NOT_FOUND)
    if stored.driven_by_other and not adopt:
        return refusal(Code.CONFLICT, DRIVEN_BY_OTHER)
    if checked.expected_revision not in (UNSET, stored.revision):
        return refusal(Code.CONFLICT, f"Schedule has revision {stored.revision} now")
    check_change_rate(context)
    connection, install = context.call.connection, context.install
    await rows.update(connection, install, merged, checked.given, context.now)
    timer = (merged.due_at, merged.cron, merged.timezone)
    if timer != (stored.next_run_at, stored.cron, stored.timezone):
        # Also where both expressions have the same next slot: a timer says what it was made from,
        # and the planner fires none that was made from something else.
        await rows.set_timer(connection, install, merged)
    described = {name: value for name, value in _described(merged).items() if name in checked.given}
    described.update(_former_handle(stored))
    return AppliedChange(
        UpdateOutput(success=True), merged.id, EventType.SCHEDULE_UPDATED, described
    )


async def delete_schedule(
    checked: CheckedId, context: ChangeContext, *, adopt: bool = False
) -> AppliedChange | ErrorBody:
    """Delete the schedule with its timer; NOT_FOUND where there is none.

    A schedule that another job runner drives is deleted only where the caller may ``adopt`` it.
    """
    if checked.errors:
        return field_refusal(checked.errors)
    stored = context.lookup.schedule
    if stored is None:
        return refusal(Code.NOT_FOUND, NOT_FOUND)
    if stored.driven_by_other and not adopt:
        return refusal(Code.CONFLICT, DRIVEN_BY_OTHER)
    check_change_rate(context)
    await rows.delete(context.call.connection, context.install, stored.id)
    changes = {"name": stored.name, "cron": stored.cron, "timezone": stored.timezone}
    changes.update(_former_handle(stored))
    return AppliedChange(DeleteOutput(success=True), stored.id, EventType.SCHEDULE_DELETED, changes)


def _resolve(
    context: ChangeContext,
    checked: CheckedCreate | CheckedUpdate,
    errors: dict[str, str],
    *,
    has_payload: bool,
) -> UUID | None:
    """Return the endpoint that the input names; add a field error where there is none."""
    if checked.endpoint is None or checked.endpoint is UNSET:
        return None
    endpoint_id = context.endpoint(checked.endpoint, has_payload=has_payload)
    if endpoint_id is None:
        errors["endpoint"] = NOT_SCHEDULABLE
    return endpoint_id


def _has_payload(checked: CheckedUpdate, stored: Schedule | None) -> bool:
    if checked.payload is not UNSET:
        return checked.payload is not None
    return stored is not None and stored.payload is not None


def _merge(
    checked: CheckedUpdate,
    stored: Schedule,
    endpoint_id: UUID | None,
    context: ChangeContext,
    errors: dict[str, str],
) -> NewSchedule:
    """Merge the given fields into the stored row; add errors that only the two together have."""
    enabled = _given(checked.enabled, stored.enabled)
    cron = stored.cron if checked.cron is UNSET else checked.cron.text
    timezone = _given(checked.timezone, stored.timezone)
    needs_new_slot = enabled and (
        not stored.enabled
        or stored.next_run_at is None
        or (cron, timezone) != (stored.cron, stored.timezone)
    )
    if enabled and not stored.enabled and endpoint_id is None and not context.owns_endpoint(stored):
        errors.setdefault("endpoint", NOT_SCHEDULABLE)
    due_at = stored.next_run_at if enabled else None
    if needs_new_slot:
        due_at = _due_of_texts(stored.id, cron, timezone, context, errors)
    elif due_at is not None and not TIMING.isdisjoint(checked.given):
        # A clock that was ahead left a timer beyond the next slot. Errors concern what changes.
        due_at = min(due_at, _due_of_texts(stored.id, cron, timezone, context, {}) or due_at)
    return NewSchedule(
        id=stored.id,
        endpoint_id=endpoint_id or stored.endpoint_id,
        name=_given(checked.name, stored.name),
        cron=cron,
        timezone=timezone,
        enabled=enabled,
        payload=_payload_text(checked, stored),
        due_at=due_at,
    )


def _given(value: T | UnsetType, stored: T) -> T:
    return stored if isinstance(value, UnsetType) else value


def _payload_text(checked: CheckedUpdate, stored: Schedule) -> str | None:
    if checked.payload is UNSET:
        return stored.payload
    return None if checked.payload is None else payload.to_json(checked.payload)


def _due(
    schedule_id: UUID, cron: Cron, zone: ZoneInfo, now: datetime, spread: timedelta
) -> datetime:
    """Return the start of the first slot after now."""
    slot = next_slot(cron, zone, now)
    if not spread:
        return slot
    return start_of(schedule_id, slot, next_slot(cron, zone, slot), spread)


def _due_of_texts(
    schedule_id: UUID, cron: str, timezone: str, context: ChangeContext, errors: dict[str, str]
) -> datetime | None:
    """Compute the next start of what may have been stored by someone else, unchecked."""
    zone = load(timezone)
    if zone is None:
        errors.setdefault("timezone", INVALID_TIMEZONE)
        return None
    try:
        read = parse(cron, min_interval_minutes=1)
        return _due(schedule_id, read, zone, context.now, context.call.policy.spread)
    except InvalidCronError as error:
        errors.setdefault("cron", str(error))
        return None


def _field_errors(errors: dict[str, str], order: Sequence[str]) -> ErrorBody:
    only_taken = errors == {"name": NAME_TAKEN}
    code = Code.CONFLICT if only_taken else Code.VALIDATION_FAILED
    return field_refusal(order_errors(order, errors), code)


def _former_handle(stored: Schedule) -> dict[str, str | None]:
    """Return the handle of the job runner that drove an adopted schedule, for its cancellation."""
    if not stored.driven_by_other:
        return {}
    job_id = None if stored.job_id is None else str(stored.job_id)
    return {"formerJobId": job_id, "formerRunnerScheduleId": stored.runner_schedule_id}


def _described(schedule: NewSchedule) -> dict[str, Any]:
    """Describe a schedule for the audit entry: a payload by length and hash only."""
    text = schedule.payload
    described = {
        "endpoint": str(schedule.endpoint_id),
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "enabled": schedule.enabled,
        "name": schedule.name,
        "payload": None,
    }
    if text is not None:
        digest = hashlib.sha256(text.encode()).hexdigest()
        described["payload"] = {"length": len(text), "sha256": digest}
    return described
