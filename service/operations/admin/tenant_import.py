"""``importTenant``: schedules by extension, method and path, all of them or none."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct

from contracts import admin_schedules as contract
from contracts.admin_schedules import PortableSchedule, RowError
from contracts.errors import Code
from contracts.events import EventType
from contracts.inputs import MAX_IMPORT_ROWS
from service.operations.admin.endpoints import materialised_endpoints
from service.operations.admin.slices import in_slices
from service.operations.admin.tenant_export import FORMAT
from service.operations.admin.transaction import (
    AdminContext,
    AppliedAdminChange,
    make_entry,
    make_event,
    resolve_tenant,
)
from service.operations.context import Answer, field_refusal
from service.operations.schedule_changes import new_row
from service.rules import admin_fields
from service.rules.endpoints import (
    NOT_SCHEDULABLE,
    EndpointManifest,
    choose,
    normal_path,
    read_manifest,
)
from service.rules.fields import NAME_TAKEN, CheckedCreate, check_create
from service.rules.limits import too_many_schedules
from service.storage.platform import installs, versions
from service.storage.platform.installs import Install
from service.storage.schedules import rows as schedules
from service.storage.schedules import transfer
from service.storage.schedules.rows import NewSchedule

ROW_PATH = re.compile(r"document\.extensions\[(\d+)\]\.schedules\[(\d+)\](?:\.(\w+))?.*")
NOT_INSTALLED = "Extension is not installed in this tenant"
ENDPOINT_FIELDS = {"endpointMethod", "endpointPath"}
TOO_MANY_ROWS = f"Too many schedules in one document (max {MAX_IMPORT_ROWS})"
UNKNOWN_FORMAT = "Unknown format (expected 1)"


class Target(Struct, frozen=True):
    """An install to import into, with its endpoints by path and its schedule names."""

    install: Install
    manifest: EndpointManifest
    candidates: dict[str, list[tuple[UUID, str]]]
    names: list[str | None]


class Import(Struct, frozen=True):
    """An import in progress: the errors by (extension, schedule) index, and the new schedules."""

    context: AdminContext
    errors: dict[tuple[int, int | None], dict[str, str]]
    new: list[tuple[Install, NewSchedule]]

    @property
    def error_count(self) -> int:
        """Return the number of field errors so far."""
        return sum(map(len, self.errors.values()))

    def add_errors(self, extension: int, schedule: int | None, errors: Mapping[str, str]) -> None:
        """Add field errors to a row, or to an extension where ``schedule`` is None."""
        self.errors.setdefault((extension, schedule), {}).update(errors)


async def import_tenant(context: AdminContext) -> AppliedAdminChange | Answer:
    """Create the schedules of a document, all of them or none."""
    checked = admin_fields.check(context.call.raw, contract.ImportTenantInput)
    work = Import(context, {}, [])
    errors = _split_errors(checked.errors, work)
    tenant_id = context.call.raw.get("tenantId")
    if not errors:
        resolve_tenant(context.call, tenant_id)
        if len(checked.errors) >= admin_fields.MAX_ERRORS:
            # The rest was not looked at: it may be of any shape.
            return _refused(work, Code.VALIDATION_FAILED)
        errors = _document_errors(context.call.raw["document"])
    if errors:
        return field_refusal(errors)
    extensions = context.call.raw["document"]["extensions"]
    over_quota = await _validate(work, str(tenant_id), extensions)
    if work.errors:
        return _refused(work, Code.QUOTA_EXCEEDED if over_quota else Code.VALIDATION_FAILED)
    answer = contract.ImportTenantOutput(success=True, created=len(work.new))
    if context.call.raw.get("dryRun") or not work.new:
        return answer
    for install, new in work.new:
        await schedules.insert(context.call.connection, install, new, context.now)
    return _applied_change(str(tenant_id), work, answer)


def _split_errors(checked: Mapping[str, str], work: Import) -> dict[str, str]:
    """Add the errors of rows to the import, and return the others."""
    errors = {}
    for name, message in checked.items():
        match = ROW_PATH.fullmatch(name)
        if match is None:
            errors[name] = message
        else:
            row = {match[3] or "schedule": message}
            work.add_errors(int(match[1]), int(match[2]), row)
    return errors


def _document_errors(document: Any) -> dict[str, str]:  # noqa: ANN401 - raw
    if document["format"] != FORMAT:
        return {"document.format": UNKNOWN_FORMAT}
    if sum(len(extension["schedules"]) for extension in document["extensions"]) > MAX_IMPORT_ROWS:
        return {"document.extensions": TOO_MANY_ROWS}
    return {}


async def _validate(work: Import, tenant_id: str, extensions: list[Any]) -> bool:
    """Judge the quota, then every row unless it is exceeded; return whether it is."""
    connection = work.context.call.connection
    keys = [(extension["publisher"], extension["name"]) for extension in extensions]
    installed = await transfer.lock_installs(connection, tenant_id, keys)
    names_by_install = await transfer.names(connection, tenant_id, list(installed.values()))
    ids = [installed.get(key) for key in keys]
    if _check_quota(work, extensions, ids, names_by_install):
        return True
    targets: dict[UUID, Target] = {}
    for id_ in installed.values():
        targets[id_] = await _target(work, tenant_id, id_, names_by_install[id_])
    for index, extension in enumerate(extensions):
        install_id = ids[index]
        if install_id is None:
            work.add_errors(index, None, {"name": NOT_INSTALLED})
            continue
        async for position, row in in_slices(enumerate(extension["schedules"])):
            if work.error_count >= admin_fields.MAX_ERRORS:
                return False
            _validate_row(work, targets[install_id], (index, position), row)
    return False


async def _target(
    work: Import, tenant_id: str, install_id: UUID, names: list[str | None]
) -> Target:
    connection = work.context.call.connection
    install = await installs.lock(connection, tenant_id, install_id)
    assert install is not None  # noqa: S101 - its row is locked
    version = versions.Version(install.version_id, "", install.manifest)
    candidates: dict[str, list[tuple[UUID, str]]] = {}
    for row in await materialised_endpoints(connection, version):
        candidates.setdefault(normal_path(row.path), []).append((row.id, row.method))
    return Target(install, read_manifest(install.manifest), candidates, names)


def _validate_row(work: Import, target: Target, place: tuple[int, int], row: Any) -> None:  # noqa: ANN401 - raw
    if not isinstance(row, dict):
        return
    method, path = row.get("endpointMethod"), row.get("endpointPath")
    has_endpoint = isinstance(method, str) and isinstance(path, str) and bool(method.strip())
    endpoint = f"{method} {path}" if has_endpoint else "/"
    checked = check_create({**row, "endpoint": endpoint}, work.context.call.policy.limits)
    errors = {name: text for name, text in checked.errors.items() if name != "endpoint"}
    endpoint_id = None
    if has_endpoint:
        endpoint_id = _choose(target, checked)
    if endpoint_id is None and not ENDPOINT_FIELDS & work.errors.get(place, {}).keys():
        errors["endpointPath"] = NOT_SCHEDULABLE
    if checked.name is not None and checked.name in target.names:
        errors["name"] = NAME_TAKEN
    if errors:
        work.add_errors(*place, errors)
        return
    target.names.append(checked.name)
    work.new.append(
        (
            target.install,
            new_row(checked, endpoint_id, work.context.now, work.context.call.policy.spread),
        )
    )


def _choose(target: Target, checked: CheckedCreate) -> UUID | None:
    if checked.endpoint is None:
        return None
    return choose(
        checked.endpoint,
        target.candidates.get(checked.endpoint.path, []),
        target.manifest,
        has_payload=checked.payload is not None,
    )


def _check_quota(
    work: Import,
    extensions: list[Any],
    install_ids: list[UUID | None],
    names: Mapping[UUID, list[str | None]],
) -> bool:
    """Return whether an install would exceed its quota; those are then the only errors."""
    limit, total = work.context.call.policy.limits.max_schedules, Counter[UUID]()
    exceeding = []
    for index, id_ in enumerate(install_ids):
        if id_ is None or not extensions[index]["schedules"]:
            continue
        total[id_] += len(extensions[index]["schedules"])
        if len(names[id_]) + total[id_] > limit:
            exceeding.append(index)
    if exceeding:
        work.errors.clear()
    for index in exceeding[: admin_fields.MAX_ERRORS]:
        work.add_errors(index, None, {"schedules": too_many_schedules(limit)})
    return bool(exceeding)


def _refused(work: Import, code: Code) -> contract.ImportTenantOutput:
    places = sorted(work.errors, key=lambda place: (place[0], -1 if place[1] is None else place[1]))
    rows = [
        RowError(
            extension=extension,
            schedule=schedule,
            field_errors=admin_fields.in_order(work.errors[extension, schedule], PortableSchedule),
        )
        for extension, schedule in places
    ]
    first = next(iter(rows[0].field_errors.values()))
    return contract.ImportTenantOutput(success=False, code=code, error=first, row_errors=rows)


def _applied_change(
    tenant_id: str, work: Import, answer: contract.ImportTenantOutput
) -> AppliedAdminChange:
    created: dict[UUID, list[UUID]] = {}
    for install, new in work.new:
        created.setdefault(install.id, []).append(new.id)
    data = {"fields": ["cron", "enabled", "endpoint", "name", "payload", "timezone"]}
    return AppliedAdminChange(
        answer=answer,
        install_id=next(iter(created)) if len(created) == 1 else None,
        entries=[
            make_entry(tenant_id, {"created": ids}, install) for install, ids in created.items()
        ],
        events=[
            make_event(EventType.SCHEDULE_CREATED, tenant_id, install.id, data, new.id)
            for install, new in work.new
        ],
    )
