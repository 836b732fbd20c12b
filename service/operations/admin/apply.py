"""``applySchedules``: make the schedules of installs what a document declares, or change nothing.

Each change is the one that ``createSchedule``, ``updateSchedule`` or ``deleteSchedule`` would make,
all in one transaction. A dry run makes them too, and rolls back: what it answers is what would be.
"""

from collections import Counter
from typing import Any

from msgspec import UNSET, Struct, structs

from contracts import admin_apply as contract
from contracts.admin_apply import (
    ApplyAction,
    DeclaredInstall,
    DeclaredSchedule,
    FieldChange,
    ScheduleChange,
)
from contracts.errors import Code, ErrorBody
from contracts.inputs import MAX_IMPORT_ROWS
from service.operations import change_context
from service.operations.admin import schedules
from service.operations.admin.slices import in_slices
from service.operations.admin.tenant_import import NOT_INSTALLED, TOO_MANY_ROWS
from service.operations.admin.transaction import AdminContext, AppliedAdminChange
from service.operations.change_context import AppliedChange, ChangeContext, LookupRequest
from service.operations.context import Answer, field_refusal
from service.operations.schedule_changes import delete_schedule, update_schedule
from service.rules import admin_fields, payload
from service.rules.fields import CheckedCreate, CheckedId, CheckedUpdate, check_create
from service.rules.schedule_diff import Texts, differences, texts
from service.storage.platform import installs
from service.storage.platform.installs import Install
from service.storage.schedules import transfer
from service.storage.schedules.rows import Schedule

LISTED_TWICE = "Listed twice"


class ApplyWork(Struct):
    """An apply in progress: what it has changed so far, and what is wrong."""

    context: AdminContext
    errors: dict[str, str]
    codes: set[Code]
    changes: list[ScheduleChange]
    applied: list[AppliedAdminChange]
    unchanged: int = 0

    @property
    def stopped(self) -> bool:
        """Return whether looking further would add nothing to the answer."""
        return Code.QUOTA_EXCEEDED in self.codes or len(self.errors) >= admin_fields.MAX_ERRORS

    def refuse(self, place: str, error: ErrorBody) -> None:
        """Note a refusal of what is at this place of the document."""
        self.codes.add(error.code)
        if error.field_errors is UNSET:
            self.errors[place] = error.error
        else:
            errors = error.field_errors.items()
            self.errors.update({f"{place}.{name}": text for name, text in errors})


class InstallTarget(Struct, frozen=True):
    """A locked install with what is declared for it at ``place`` of the document."""

    work: ApplyWork
    install: Install
    declared: DeclaredInstall
    place: str


async def apply_schedules(
    context: AdminContext, request: contract.ApplySchedulesInput
) -> AppliedAdminChange | Answer:
    """Create, update and with ``prune`` delete what differs from the document."""
    if sum(len(install.schedules) for install in request.installs) > MAX_IMPORT_ROWS:
        return field_refusal({"installs": TOO_MANY_ROWS})
    keys = [(install.publisher, install.name) for install in request.installs]
    found = await transfer.lock_installs(context.call.connection, request.tenant_id, keys)
    work = ApplyWork(context, {}, set(), [], [])
    for index, declared in enumerate(request.installs):
        place, key = f"installs[{index}]", keys[index]
        if key in keys[:index]:
            work.refuse(place, field_refusal({"name": LISTED_TWICE}))
        elif key not in found:
            work.refuse(place, field_refusal({"name": NOT_INSTALLED}))
        elif not work.stopped:
            install = await installs.lock(context.call.connection, request.tenant_id, found[key])
            assert install is not None  # noqa: S101 - its row is locked
            await _apply_install(InstallTarget(work, install, declared, place), prune=request.prune)
    if work.errors:
        return field_refusal(work.errors, _code(work))
    answer = _answer(work, dry_run=request.dry_run)
    if request.dry_run or not work.applied:
        return answer
    changed = {applied.install_id for applied in work.applied}
    return AppliedAdminChange(
        answer=answer,
        install_id=changed.pop() if len(changed) == 1 else None,
        entries=[entry for applied in work.applied for entry in applied.entries],
        events=[event for applied in work.applied for event in applied.events],
    )


async def _apply_install(target: InstallTarget, *, prune: bool) -> None:
    work, install, declared = target.work, target.install, target.declared
    names = [schedule.name.strip() for schedule in declared.schedules]
    stored = await transfer.of_install(work.context.call.connection, install.tenant_id, install.id)
    if prune:
        # First, so that what is removed does not count against the quota.
        for row in stored:
            if row.name not in names and not work.stopped:
                await _delete(target, row)
    by_name = {row.name: row for row in stored}
    async for index, schedule in in_slices(enumerate(declared.schedules)):
        place = f"{target.place}.schedules[{index}]"
        if work.stopped:
            return
        if names[index] in names[:index]:
            work.refuse(place, field_refusal({"name": LISTED_TWICE}))
            continue
        checked = check_create(_raw(schedule), work.context.call.policy.limits)
        if checked.errors:
            work.refuse(place, field_refusal(checked.errors))
            continue
        await _apply_schedule(target, place, checked, by_name.get(names[index]))


async def _apply_schedule(
    target: InstallTarget, place: str, checked: CheckedCreate, stored: Schedule | None
) -> None:
    """Create the declared schedule, or update the stored one where it differs."""
    lookup = LookupRequest(
        name=checked.name,
        selector=checked.endpoint,
        schedule_id=None if stored is None else stored.id,
    )
    change = await change_context.load_context(target.work.context.call, target.install, lookup)
    after = _declared_texts(checked, stored, change)
    if stored is None:
        created = await schedules.insert_new(checked, change)
        _note(target, place, created, "create", checked.name, differences(None, after))
        return
    fields = differences(_stored_texts(stored), after)
    if not fields:
        target.work.unchanged += 1
        return
    given = [field.field for field in fields]
    values = {name: getattr(checked, name) for name in given}
    update = CheckedUpdate(errors={}, given=given, schedule_id=stored.id, **values)
    updated = await update_schedule(update, change)
    _note(target, place, updated, "update", checked.name, fields)


async def _delete(target: InstallTarget, stored: Schedule) -> None:
    lookup = LookupRequest(schedule_id=stored.id)
    change = await change_context.load_context(target.work.context.call, target.install, lookup)
    deleted = await delete_schedule(CheckedId(errors={}, schedule_id=stored.id), change)
    place = f"{target.place}.prune[{stored.name or stored.id}]"
    _note(target, place, deleted, "delete", stored.name, differences(_stored_texts(stored), None))


def _raw(schedule: DeclaredSchedule) -> dict[str, Any]:
    return {name: getattr(schedule, name) for name in schedule.__struct_encode_fields__}


def _stored_texts(stored: Schedule) -> Texts:
    known = stored.endpoint_path is not None
    return texts(
        endpoint=f"{stored.endpoint_method} {stored.endpoint_path}" if known else None,
        cron=stored.cron,
        timezone=stored.timezone,
        enabled=stored.enabled,
        payload=payload.from_json(stored.payload),
    )


def _declared_texts(
    checked: CheckedCreate, stored: Schedule | None, change: ChangeContext
) -> Texts:
    """Return the declared fields as texts; an endpoint that did not change is spelled as stored."""
    assert checked.endpoint is not None  # noqa: S101 - there are no errors
    assert checked.cron is not None  # noqa: S101 - likewise
    endpoint = f"{checked.endpoint.method or ''} {checked.endpoint.path}".strip()
    endpoint_id = change.endpoint(checked.endpoint, has_payload=checked.payload is not None)
    if stored is not None and endpoint_id is not None and endpoint_id == stored.endpoint_id:
        endpoint = f"{stored.endpoint_method} {stored.endpoint_path}"
    return texts(
        endpoint=endpoint,
        cron=checked.cron.text,
        timezone=checked.timezone,
        enabled=checked.enabled,
        payload=checked.payload,
    )


def _note(
    target: InstallTarget,
    place: str,
    outcome: AppliedChange | ErrorBody,
    action: ApplyAction,
    name: str | None,
    fields: list[FieldChange],
) -> None:
    """Add a change, or a refusal, to what the answer is made of."""
    if isinstance(outcome, ErrorBody):
        target.work.refuse(place, outcome)
        return
    applied = schedules.applied_change(target.install, outcome)
    assert isinstance(applied, AppliedAdminChange)  # noqa: S101 - it is no refusal
    target.work.applied.append(applied)
    target.work.changes.append(
        ScheduleChange(
            action=action,
            publisher=target.declared.publisher,
            extension=target.declared.name,
            name=name,
            install_id=str(target.install.id),
            schedule_id=str(outcome.schedule_id),
            fields=fields,
        )
    )


def _code(work: ApplyWork) -> Code:
    """Return one code for all refusals: that of the problem to solve first."""
    if Code.QUOTA_EXCEEDED in work.codes:
        return Code.QUOTA_EXCEEDED
    return Code.CONFLICT if work.codes == {Code.CONFLICT} else Code.VALIDATION_FAILED


def _answer(work: ApplyWork, *, dry_run: bool) -> contract.ApplySchedulesOutput:
    actions = Counter(change.action for change in work.changes)
    return contract.ApplySchedulesOutput(
        success=True,
        created=actions["create"],
        updated=actions["update"],
        deleted=actions["delete"],
        unchanged=work.unchanged,
        changes=[
            # The id of a row that is rolled back would be of no use.
            structs.replace(change, schedule_id=None)
            if dry_run and change.action == "create"
            else change
            for change in work.changes
        ],
    )
