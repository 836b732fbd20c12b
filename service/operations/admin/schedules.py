"""Admin operations on one install's schedules: create, update, delete, disable all, run now."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from msgspec import UNSET, structs

from contracts import admin_installs, admin_schedules
from contracts.admin import ADMIN_OPS
from contracts.errors import Code, ErrorBody, ServiceError
from contracts.events import EventType
from service.operations import change_context
from service.operations.admin.installs import lock_install
from service.operations.admin.transaction import (
    INSTALL_NOT_FOUND,
    AdminContext,
    AppliedAdminChange,
    make_entry,
    make_event,
)
from service.operations.admin.views import foreign_handle
from service.operations.change_context import LookupRequest
from service.operations.context import Answer, field_refusal, refusal
from service.operations.schedule_changes import delete_schedule, new_schedule, update_schedule
from service.rules import admin_fields
from service.rules.endpoints import NOT_SCHEDULABLE, Selector, normal_method, normal_path
from service.rules.fields import (
    NOT_FOUND,
    REQUIRED,
    CheckedCreate,
    CheckedUpdate,
    check_create,
    check_schedule_id,
    check_update,
)
from service.rules.limits import append_window, check_rate
from service.storage.platform import endpoints
from service.storage.platform.installs import Install
from service.storage.records import manual_run_rate
from service.storage.runs import occurrences
from service.storage.schedules import admin_search, bulk
from service.storage.schedules import rows as schedules
from service.storage.schedules.adoption import RunnerHandle

REASON = "reason"
ONE_ENDPOINT = "Give endpoint or endpointId, not both"

Checked = TypeVar("Checked", CheckedCreate, CheckedUpdate)


async def create(context: AdminContext) -> AppliedAdminChange | Answer:
    """Create a schedule as its extension would."""
    checked = check_create(context.call.raw, context.call.policy.limits)
    return await _with_endpoint(context, checked, insert_new)


async def insert_new(
    checked: CheckedCreate, context: change_context.ChangeContext
) -> change_context.AppliedChange | ErrorBody:
    """Insert a new schedule, or return what is wrong."""
    outcome = new_schedule(checked, context)
    if isinstance(outcome, change_context.AppliedChange) and outcome.new is not None:
        await schedules.insert(context.call.connection, context.install, outcome.new, context.now)
    return outcome


async def update(context: AdminContext) -> AppliedAdminChange | Answer:
    """Change a schedule as its extension would."""
    checked = check_update(context.call.raw, context.call.policy.limits)
    return await _with_endpoint(context, checked, partial(_update_with_reason, context))


async def _update_with_reason(
    context: AdminContext, checked: CheckedUpdate, change: change_context.ChangeContext
) -> change_context.AppliedChange | ErrorBody:
    """Update a schedule; the audit entry has the reason that was given."""
    outcome = await update_schedule(checked, change, adopt=_adopts(context))
    reason = context.call.raw.get(REASON)
    if isinstance(outcome, ErrorBody) or not reason:
        return outcome
    return structs.replace(outcome, changes={**outcome.changes, REASON: reason})


async def delete(context: AdminContext) -> AppliedAdminChange | Answer:
    """Delete a schedule as its extension would."""
    checked = check_schedule_id(context.call.raw)
    own = _own_errors(context, ("installId", "adopt"))
    if own or checked.errors:
        return field_refusal({**own, **checked.errors})
    install = await lock_install(context, UUID(context.call.raw["installId"]))
    if install is None:
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    request = LookupRequest(schedule_id=checked.schedule_id)
    change = await change_context.load_context(context.call, install, request)
    return applied_change(install, await delete_schedule(checked, change, adopt=_adopts(context)))


async def disable_all(
    context: AdminContext, request: admin_installs.DisableSchedulesInput
) -> AppliedAdminChange | Answer:
    """Disable all schedules of an install, those that wait for their endpoint included."""
    install = await lock_install(context, UUID(request.install_id))
    if install is None:
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    connection, tenant_id = context.call.connection, install.tenant_id
    disabled = await bulk.disable_all(connection, tenant_id, install.id, context.now)
    answer = admin_installs.DisableSchedulesOutput(
        success=True,
        disabled=len(disabled.disabled),
        driven_by_other=[
            foreign_handle(RunnerHandle(row.id, row.job_id, row.runner_schedule_id))
            for row in disabled.left
        ],
    )
    if not disabled.touched:
        return answer
    data = {"reason": "disableSchedules"}
    return AppliedAdminChange(
        answer=answer,
        install_id=install.id,
        entries=[make_entry(tenant_id, {"disabled": disabled.disabled}, install.id)],
        events=[
            make_event(EventType.SCHEDULE_DISABLED, tenant_id, install.id, data, id_)
            for id_ in disabled.disabled
        ],
    )


async def run_now(
    context: AdminContext, request: admin_schedules.RunNowInput
) -> AppliedAdminChange | Answer:
    """Plan a manual run for the current minute; a second request within it returns the same run."""
    call, schedule_id = context.call, UUID(request.schedule_id)
    owned = await admin_search.one(call.connection, context.scope, schedule_id)
    install = None if owned is None else await lock_install(context, owned.install_id)
    # Once more under the lock: it may have been deleted in between.
    owned = await admin_search.one(call.connection, context.scope, schedule_id)
    if owned is None or install is None:
        return refusal(Code.NOT_FOUND, NOT_FOUND)
    if not install.enabled:
        return refusal(Code.INSTALL_DISABLED, "Install is disabled")
    tenant_id, limit = install.tenant_id, call.policy.limits.manual_runs_per_minute
    accepted = await manual_run_rate.lock(call.connection, tenant_id)
    run_id, new = await occurrences.plan_manual_run(
        call.connection, tenant_id, install.id, schedule_id, context.now
    )
    answer = admin_schedules.RunNowOutput(success=True, run_id=str(run_id))
    if not new:
        return answer
    wait_ms = check_rate(accepted, context.now, limit)
    if wait_ms is not None:
        raise ServiceError(Code.RATE_LIMITED, "Too many manual runs", retry_after_ms=wait_ms)
    accepted = append_window(accepted, context.now, limit)
    await manual_run_rate.store(call.connection, tenant_id, accepted, context.now)
    changes = {"runId": run_id}
    entries = [make_entry(tenant_id, changes, install.id, schedule_id)]
    return AppliedAdminChange(answer=answer, entries=entries, install_id=install.id)


async def _with_endpoint(
    context: AdminContext,
    checked: Checked,
    apply: Callable[
        [Checked, change_context.ChangeContext],
        Awaitable[change_context.AppliedChange | ErrorBody],
    ],
) -> AppliedAdminChange | Answer:
    """Resolve ``endpointId`` to a selector, and apply the change of the host operation."""
    raw = context.call.raw
    own = _own_errors(context, ("installId", "endpointId", "adopt", REASON))
    by_id = raw.get("endpointId") is not None
    errors = dict(checked.errors)
    if by_id and errors.get("endpoint") == REQUIRED:
        del errors["endpoint"]
    if by_id and raw.get("endpoint") is not None:
        own.setdefault("endpointId", ONE_ENDPOINT)
    install = None if "installId" in own else await lock_install(context, UUID(raw["installId"]))
    if install is None:
        errors.update(own)
        return field_refusal(errors) if errors else refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    selector = None
    if by_id and "endpointId" not in own:
        selector = await _selector(context, install, UUID(raw["endpointId"]))
        if selector is None:
            own["endpointId"] = NOT_SCHEDULABLE
    checked = _with_selector(checked, selector, {**errors, **own}, by_id=by_id)
    change = await change_context.load_context(context.call, install, _lookup_request(checked))
    outcome = await apply(checked, change)
    if isinstance(outcome, ErrorBody) and selector is not None:
        outcome = _with_endpoint_id(outcome)
    return applied_change(install, outcome)


def _with_selector(
    checked: Checked, selector: Selector | None, errors: Mapping[str, str], *, by_id: bool
) -> Checked:
    """Return the input with the selector that its ``endpointId`` stands for."""
    replaced: dict[str, Any] = {"errors": errors}
    if selector is not None:
        replaced["endpoint"] = selector
    given: Any = getattr(checked, "given", None)
    if by_id and given is not None and "endpoint" not in given:
        replaced["given"] = ["endpoint", *given]
    return structs.replace(checked, **replaced)


def _adopts(context: AdminContext) -> bool:
    return context.call.raw.get("adopt") is True


def _lookup_request(checked: CheckedCreate | CheckedUpdate) -> LookupRequest:
    if isinstance(checked, CheckedCreate):
        return LookupRequest(name=checked.name, selector=checked.endpoint)
    return LookupRequest(
        schedule_id=checked.schedule_id,
        name=checked.name or None,
        selector=checked.endpoint or None,
    )


def _own_errors(context: AdminContext, names: tuple[str, ...]) -> dict[str, str]:
    """Return the errors of the fields that the host operations do not have."""
    shape = ADMIN_OPS[context.call.claims.op].input
    raw = context.call.raw
    errors = admin_fields.check(raw, shape).errors
    own = {name: errors[name] for name in names if name in errors}
    if context.call.claims.op == "updateSchedule" and raw.get("endpointId", "") is None:
        own["endpointId"] = admin_fields.wrong_type("string")
    return own


async def _selector(context: AdminContext, install: Install, endpoint_id: UUID) -> Selector | None:
    rows = await endpoints.list_for_version(context.call.connection, install.version_id)
    for row in rows:
        if row.id == endpoint_id:
            return Selector(path=normal_path(row.path), method=normal_method(row.method))
    return None


def _with_endpoint_id(outcome: ErrorBody) -> ErrorBody:
    """Return the refusal with the endpoint's error under ``endpointId``."""
    if outcome.field_errors is UNSET or "endpoint" not in outcome.field_errors:
        return outcome
    errors = dict(outcome.field_errors)
    errors["endpointId"] = errors.pop("endpoint")
    return structs.replace(outcome, field_errors=errors)


def applied_change(
    install: Install, outcome: change_context.AppliedChange | ErrorBody
) -> AppliedAdminChange | Answer:
    """Return the audit entry and the event of a change to one schedule; a refusal as it is."""
    if isinstance(outcome, ErrorBody):
        return outcome
    tenant_id, id_ = install.tenant_id, outcome.schedule_id
    data: Mapping[str, Any] = {"fields": sorted(outcome.changes.keys() - {REASON})}
    return AppliedAdminChange(
        answer=outcome.answer,
        install_id=install.id,
        entries=[make_entry(tenant_id, outcome.changes, install.id, id_)],
        events=[make_event(outcome.event, tenant_id, install.id, data, id_)],
    )
