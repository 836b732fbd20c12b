"""The scheduler of one install in memory, under the rules of the service.

What the service decides under a lock on rows is decided here on a list: fields, then whether the
schedule exists, then rate and quota. A test holds both against each other.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import msgspec
from msgspec import Struct, UnsetType
from msgspec.structs import replace

from contracts.encoding import MAX_BODY_BYTES, Encoding, encode
from contracts.errors import Code, ServiceError
from contracts.schedules import (
    CreateInput,
    CreateOutput,
    DeleteInput,
    DeleteOutput,
    EndpointInfo,
    GetEndpointsOutput,
    GetInput,
    GetOutput,
    ListOutput,
    Payload,
    ScheduleInfo,
    UpdateInput,
    UpdateOutput,
)
from contracts.times import wire_time
from service.rules.cron import Cron
from service.rules.endpoints import (
    NOT_SCHEDULABLE,
    EndpointManifest,
    Selector,
    choose,
    schedulable,
)
from service.rules.fields import (
    CREATE_FIELDS,
    NAME_TAKEN,
    NOT_FOUND,
    UPDATE_FIELDS,
    CheckedCreate,
    CheckedUpdate,
    check_create,
    check_schedule_id,
    check_update,
    order_errors,
)
from service.rules.limits import (
    Limits,
    append_window,
    check_rate,
    too_many_changes,
    too_many_schedules,
)
from service.rules.slots import next_slot
from service.rules.zones import load

T = TypeVar("T")

TOO_LARGE = "Request is too large"


class StoredSchedule(Struct, frozen=True, kw_only=True):
    """A schedule with its timer; ``due_at`` is None while it is disabled."""

    id: UUID
    endpoint: EndpointInfo
    name: str | None
    cron: Cron
    timezone: str
    enabled: bool
    payload: Payload | None
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    revision: int = 1
    last_run_at: datetime | None = None
    last_run_status: str | None = None
    last_error: str | None = None

    def due_after(self, now: datetime) -> datetime:
        """Return the first slot after an instant."""
        zone = load(self.timezone)
        assert zone is not None  # noqa: S101 - the name was checked as a field
        return next_slot(self.cron, zone, now)


class InMemoryScheduler:
    """The six operations of an install whose version has the endpoints of ``manifest``."""

    def __init__(
        self, manifest: EndpointManifest, limits: Limits, clock: Callable[[], datetime]
    ) -> None:
        self.schedules: dict[UUID, StoredSchedule] = {}
        self._manifest = manifest
        self._limits = limits
        self._clock = clock
        self._changes: list[datetime] = []
        self._endpoints = {
            uuid5(NAMESPACE_URL, f"{method} {path}"): (method, path, handler)
            for method, path, handler in manifest.entries
        }

    async def list(self) -> ListOutput:
        """Return the schedules in the order of their creation."""
        return ListOutput(schedules=[_info(schedule) for schedule in self.schedules.values()])

    async def get(self, request: GetInput) -> GetOutput:
        """Return one schedule, or None."""
        checked = check_schedule_id(_raw(request))
        if checked.errors:
            raise ServiceError(Code.VALIDATION_FAILED, checked.errors["scheduleId"])
        schedule = self.schedules.get(checked.schedule_id) if checked.schedule_id else None
        return GetOutput(schedule=None if schedule is None else _info(schedule))

    async def get_endpoints(self) -> GetEndpointsOutput:
        """Return the endpoints of the manifest by path, then method."""
        infos = [self._endpoint_info(id_) for id_ in self._endpoints]
        return GetEndpointsOutput(
            endpoints=sorted(infos, key=lambda info: (info.path, info.method))
        )

    async def create(self, request: CreateInput) -> CreateOutput:
        """Create a schedule, due at its next slot from now."""
        _check_size(request)
        now = self._clock()
        checked = check_create(_raw(request), self._limits)
        errors = dict(checked.errors)
        endpoint = self._resolve(checked, errors, has_payload=checked.payload is not None)
        if checked.name is not None and self._holder(checked.name) is not None:
            errors["name"] = NAME_TAKEN
        if errors or endpoint is None or checked.cron is None:
            return CreateOutput(**_field_errors(errors, CREATE_FIELDS))
        self._check_rate(now)
        limit = self._limits.max_schedules
        if len(self.schedules) >= limit:
            message = too_many_schedules(limit)
            return CreateOutput(success=False, code=Code.QUOTA_EXCEEDED, error=message)
        created = StoredSchedule(
            id=uuid4(),
            endpoint=endpoint,
            name=checked.name,
            cron=checked.cron,
            timezone=checked.timezone,
            enabled=checked.enabled,
            payload=checked.payload,
            created_at=now,
            updated_at=now,
            due_at=None,
        )
        self._write(replace(created, due_at=created.due_after(now) if created.enabled else None))
        return CreateOutput(success=True, schedule_id=str(created.id))

    async def update(self, request: UpdateInput) -> UpdateOutput:
        """Change the given fields of a schedule; what stays equal leaves its timer alone."""
        _check_size(request)
        now = self._clock()
        checked = check_update(_raw(request), self._limits)
        stored = self.schedules.get(checked.schedule_id) if checked.schedule_id else None
        errors = dict(checked.errors)
        payload = _given(checked.payload, stored.payload if stored else None)
        endpoint = self._resolve(checked, errors, has_payload=payload is not None)
        if checked.name and self._holder(checked.name) not in (None, checked.schedule_id):
            errors["name"] = NAME_TAKEN
        if errors:
            return UpdateOutput(**_field_errors(errors, UPDATE_FIELDS))
        if stored is None:
            return UpdateOutput(success=False, code=Code.NOT_FOUND, error=NOT_FOUND)
        self._check_rate(now)
        merged = replace(
            stored,
            endpoint=endpoint or stored.endpoint,
            name=_given(checked.name, stored.name),
            cron=_given(checked.cron, stored.cron),
            timezone=_given(checked.timezone, stored.timezone),
            enabled=_given(checked.enabled, stored.enabled),
            payload=payload,
            updated_at=now,
            revision=stored.revision + 1,
        )
        timing = (merged.cron.text, merged.timezone, merged.enabled)
        if timing != (stored.cron.text, stored.timezone, stored.enabled):
            merged = replace(merged, due_at=merged.due_after(now) if merged.enabled else None)
        self._write(merged)
        return UpdateOutput(success=True)

    async def delete(self, request: DeleteInput) -> DeleteOutput:
        """Delete a schedule."""
        checked = check_schedule_id(_raw(request))
        if checked.errors:
            return DeleteOutput(**_field_errors(checked.errors, ["scheduleId"]))
        if checked.schedule_id not in self.schedules:
            return DeleteOutput(success=False, code=Code.NOT_FOUND, error=NOT_FOUND)
        self._check_rate(self._clock())
        del self.schedules[checked.schedule_id]
        self._count_change()
        return DeleteOutput(success=True)

    def _write(self, schedule: StoredSchedule) -> None:
        self.schedules[schedule.id] = schedule
        self._count_change()

    def _count_change(self) -> None:
        limit = self._limits.changes_per_minute
        self._changes = append_window(self._changes, self._clock(), limit)

    def _check_rate(self, now: datetime) -> None:
        limit = self._limits.changes_per_minute
        wait = check_rate(self._changes, now, limit)
        if wait is not None:
            message = too_many_changes(limit, now, wait)
            raise ServiceError(Code.RATE_LIMITED, message, retry_after_ms=wait)

    def _holder(self, name: str) -> UUID | None:
        return next((s.id for s in self.schedules.values() if s.name == name), None)

    def _resolve(
        self,
        checked: CheckedCreate | CheckedUpdate,
        errors: dict[str, str],
        *,
        has_payload: bool,
    ) -> EndpointInfo | None:
        """Return the endpoint that the input names; add a field error where there is none."""
        selector = checked.endpoint
        if not isinstance(selector, Selector):
            return None
        declared = [
            (id_, method)
            for id_, (method, path, _) in self._endpoints.items()
            if path == selector.path
        ]
        chosen = choose(selector, declared, self._manifest, has_payload=has_payload)
        if chosen is None:
            errors["endpoint"] = NOT_SCHEDULABLE
            return None
        return self._endpoint_info(chosen)

    def _endpoint_info(self, id_: UUID) -> EndpointInfo:
        method, path, handler = self._endpoints[id_]
        return EndpointInfo(
            id=str(id_),
            method=method,
            path=path,
            handler=handler,
            schedulable=schedulable(method, path, self._manifest),
        )


def _check_size(request: Struct) -> None:
    """Raise ServiceError for a request that a Runner's client would not send."""
    if len(encode(request, Encoding.MSGPACK)) > MAX_BODY_BYTES:
        raise ServiceError(Code.VALIDATION_FAILED, TOO_LARGE)


def _raw(request: Struct) -> Mapping[str, Any]:
    raw: Mapping[str, Any] = msgspec.to_builtins(request)
    return raw


def _given(value: T | UnsetType, stored: T) -> T:
    return stored if isinstance(value, UnsetType) else value


def _field_errors(errors: Mapping[str, str], order: Any) -> dict[str, Any]:  # noqa: ANN401 - names
    code = Code.CONFLICT if errors == {"name": NAME_TAKEN} else Code.VALIDATION_FAILED
    ordered = order_errors(order, errors)
    first = next(iter(ordered.values()))
    return {"success": False, "code": code, "error": first, "field_errors": ordered}


def _info(schedule: StoredSchedule) -> ScheduleInfo:
    return ScheduleInfo(
        id=str(schedule.id),
        endpoint_path=schedule.endpoint.path,
        endpoint_method=schedule.endpoint.method,
        name=schedule.name,
        cron=schedule.cron.text,
        timezone=schedule.timezone,
        enabled=schedule.enabled,
        payload=schedule.payload,
        last_run_at=None if schedule.last_run_at is None else wire_time(schedule.last_run_at),
        last_run_status=schedule.last_run_status,
        last_error=schedule.last_error,
        created_at=wire_time(schedule.created_at),
        updated_at=wire_time(schedule.updated_at),
        next_run_at=None if schedule.due_at is None else wire_time(schedule.due_at),
        revision=schedule.revision,
    )
