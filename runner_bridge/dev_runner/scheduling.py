"""The interface ``scheduler``: converts a guest's values to the service's operations and back."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from contracts.errors import Code, Outcome, ServiceError
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
    ScheduleInfo,
    UpdateInput,
    UpdateOutput,
)
from runner_bridge.dev_runner.frames import Value
from runner_bridge.dev_runner.hints import Suggest, hints_for, no_suggestion

log = logging.getLogger(__name__)

BAD_PAYLOAD = "Payload must be JSON-serializable"

_ERRORS: Mapping[Code, str] = MappingProxyType(
    {
        Code.NOT_FOUND: "not-found",
        Code.VALIDATION_FAILED: "validation-failed",
        Code.QUOTA_EXCEEDED: "quota-exceeded",
        Code.RATE_LIMITED: "quota-exceeded",
        Code.DENIED: "denied",
        Code.UNAUTHORIZED: "denied",
    }
)


class Scheduler(Protocol):
    """The host operations on behalf of one install; they raise ServiceError."""

    async def list(self) -> ListOutput:
        """List the install's schedules."""

    async def get(self, request: GetInput) -> GetOutput:
        """Get one schedule."""

    async def create(self, request: CreateInput) -> CreateOutput:
        """Create a schedule."""

    async def update(self, request: UpdateInput) -> UpdateOutput:
        """Change a schedule."""

    async def delete(self, request: DeleteInput) -> DeleteOutput:
        """Remove a schedule."""

    async def get_endpoints(self) -> GetEndpointsOutput:
        """List the endpoints of the install's version."""


class MalformedPayload(ValueError):
    """A payload text that is not JSON."""


T = TypeVar("T")
Arguments = list[Value]
Binding = Callable[[Scheduler, Arguments], Awaitable[Value]]


async def call(
    scheduler: Scheduler,
    function: str,
    arguments: Arguments,
    suggest: Suggest = no_suggestion,
) -> Value:
    """Call one function of the interface; return failures as WIT results.

    Refused fields are logged, with what ``suggest`` says would be accepted.
    """
    try:
        result = await _BINDINGS[function](scheduler, arguments)
    except MalformedPayload:
        result = _negative(BAD_PAYLOAD, {"payload": BAD_PAYLOAD})
    except ServiceError as error:
        shown = {"function": function, "code": error.code, "reason": error.message}
        log.info("scheduler call refused", extra={"fields": shown})
        return refused(function, error.code, error.message)
    if function in _CHANGES and not result["success"]:
        errors = json.loads(result["field-errors"] or "{}")
        hints = await hints_for(arguments[-1], errors, suggest, scheduler.get_endpoints)
        shown = {"function": function, "reason": result["error"], "field_errors": errors}
        log.info("scheduler change refused", extra={"fields": {**shown, "hints": hints}})
    return result


def refused(function: str, code: Code, message: str) -> dict[str, Any]:
    """Return the result for a refusal: an error code of a read, the message of a change."""
    if function in _CHANGES:
        return _negative(message, None)
    return {"err": _ERRORS.get(code, "internal")}


async def _list(scheduler: Scheduler, _: Arguments) -> dict[str, Any]:
    return {"ok": [_schedule(schedule) for schedule in (await scheduler.list()).schedules]}


async def _get(scheduler: Scheduler, arguments: Arguments) -> dict[str, Any]:
    found = (await scheduler.get(GetInput(schedule_id=arguments[0]))).schedule
    return {"ok": None if found is None else _schedule(found)}


async def _create(scheduler: Scheduler, arguments: Arguments) -> dict[str, Any]:
    [given] = arguments
    payload = given["payload"]
    request = CreateInput(
        endpoint=given["endpoint"],
        cron=given["cron"],
        timezone=given["timezone"],
        enabled=given["enabled"],
        name=given["name"],
        payload=None if payload is None else parse_payload(payload),
    )
    outcome = await scheduler.create(request)
    return _outcome(outcome) | {"schedule-id": outcome.schedule_id}


async def _update(scheduler: Scheduler, arguments: Arguments) -> dict[str, Any]:
    schedule_id, given = arguments
    request = UpdateInput(
        schedule_id=schedule_id,
        endpoint=_given(given["endpoint"]),
        cron=_given(given["cron"]),
        timezone=_given(given["timezone"]),
        enabled=_given(given["enabled"]),
        name=_given(given["name"]),
        payload=UNSET if given["payload"] is None else parse_payload(given["payload"]),
    )
    return _outcome(await scheduler.update(request))


async def _delete(scheduler: Scheduler, arguments: Arguments) -> dict[str, Any]:
    return _outcome(await scheduler.delete(DeleteInput(schedule_id=arguments[0])))


async def _get_endpoints(scheduler: Scheduler, _: Arguments) -> dict[str, Any]:
    return {"ok": [_endpoint(endpoint) for endpoint in (await scheduler.get_endpoints()).endpoints]}


_BINDINGS: Mapping[str, Binding] = MappingProxyType(
    {
        "list-schedules": _list,
        "get-schedule": _get,
        "create-schedule": _create,
        "update-schedule": _update,
        "delete-schedule": _delete,
        "get-endpoints": _get_endpoints,
    }
)
_CHANGES = frozenset({"create-schedule", "update-schedule", "delete-schedule"})


def parse_payload(text: str) -> Value:
    """Read a payload text as JSON.

    Raises:
        MalformedPayload: it is not JSON, has NaN or infinity, or has what the bus cannot
            carry: integers beyond 64 bits, lone surrogates.
    """
    try:
        payload = json.loads(text, parse_constant=_refuse_constant)
        msgspec.msgpack.encode(payload)
    except (ValueError, OverflowError, RecursionError):
        raise MalformedPayload(BAD_PAYLOAD) from None
    return payload


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _given(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _schedule(schedule: ScheduleInfo) -> dict[str, Any]:
    record = {
        name.replace("_", "-"): value for name, value in msgspec.structs.asdict(schedule).items()
    }
    record["payload"] = None if schedule.payload is None else _json(schedule.payload)
    return record


def _endpoint(endpoint: EndpointInfo) -> dict[str, Any]:
    return msgspec.structs.asdict(endpoint)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    if outcome.success:
        return {"success": True, "error": None, "field-errors": None}
    return _negative(outcome.error or str(outcome.code), outcome.field_errors)


def _negative(error: str, field_errors: Mapping[str, str] | None) -> dict[str, Any]:
    return {
        "success": False,
        "schedule-id": None,
        "error": error,
        "field-errors": _json(field_errors) if field_errors else None,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
