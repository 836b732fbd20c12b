"""Every type that crosses the wire, as JSON Schema, and what each operation may answer instead.

The published documents (``asyncapi``, ``typescript``) are made of these.
"""

import inspect
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from contracts.admin import ADMIN_OPS, AdminOperation
from contracts.context import Claims
from contracts.errors import Code, ErrorBody, Outcome
from contracts.events import Event
from contracts.execution import ExecuteRequest, ExecuteResponse
from contracts.schedules import HOST_OPS, Operation

AnyOperation = Operation | AdminOperation

_ALWAYS = (
    Code.VALIDATION_FAILED,
    Code.UNAUTHORIZED,
    Code.DENIED,
    Code.INTERNAL,
    Code.UNAVAILABLE,
)
_FIELDS = (Code.VALIDATION_FAILED,)
_ONE = (Code.VALIDATION_FAILED, Code.NOT_FOUND)

HOST_REFUSALS: Mapping[str, tuple[Code, ...]] = MappingProxyType(
    {
        "list": (),
        "get": _FIELDS,
        "create": (Code.VALIDATION_FAILED, Code.CONFLICT, Code.QUOTA_EXCEEDED),
        "update": (Code.VALIDATION_FAILED, Code.NOT_FOUND, Code.CONFLICT),
        "delete": (*_ONE, Code.CONFLICT),
        "getEndpoints": (),
    }
)
"""Host operation → codes of its negative results."""

ADMIN_REFUSALS: Mapping[str, tuple[Code, ...]] = MappingProxyType(
    {
        "registerInstall": (*_FIELDS, Code.CONFLICT),
        "updateInstall": (*_ONE, Code.SCHEDULE_REMAP_FAILED),
        "setInstallEnabled": _ONE,
        "uninstall": (*_ONE, Code.CONFLICT),
        "purgeTenant": (*_ONE, Code.CONFLICT),
        "setTenantPaused": _ONE,
        "setTenantPool": _FIELDS,
        "disableSchedules": _ONE,
        "adopt": _ONE,
        "release": _ONE,
        "reconcile": _ONE,
        "listTenants": _ONE,
        "listInstalls": _ONE,
        "listSchedules": _ONE,
        "getSchedule": _ONE,
        "createSchedule": (*_ONE, Code.CONFLICT, Code.QUOTA_EXCEEDED),
        "updateSchedule": (*_ONE, Code.CONFLICT),
        "deleteSchedule": (*_ONE, Code.CONFLICT),
        "runNow": (*_ONE, Code.INSTALL_DISABLED),
        "runHistory": _ONE,
        "getRun": _ONE,
        "stats": _ONE,
        "explain": _ONE,
        "account": _ONE,
        "load": _ONE,
        "loadMinute": _ONE,
        "previewCron": _FIELDS,
        "listEndpoints": _ONE,
        "backfillEndpoints": _ONE,
        "exportTenant": _ONE,
        "importTenant": (*_FIELDS, Code.QUOTA_EXCEEDED),
        "applySchedules": (*_ONE, Code.CONFLICT, Code.QUOTA_EXCEEDED),
        "auditLog": _ONE,
    }
)
"""Admin operation → codes of its negative results."""


def refusals(op: str, operation: AnyOperation) -> tuple[Code, ...]:
    """Return the codes of an operation's negative results.

    Raises:
        LookupError: the table lacks the operation; the message names the table.
    """
    host = isinstance(operation, Operation)
    table = HOST_REFUSALS if host else ADMIN_REFUSALS
    if op not in table:
        name = "HOST_REFUSALS" if host else "ADMIN_REFUSALS"
        raise LookupError(f"operation {op!r} has no codes in {name} of {__name__}")
    return table[op]


def service_errors(op: str, operation: AnyOperation) -> tuple[Code, ...]:
    """Return the codes of the service errors of an operation."""
    codes = list(_ALWAYS)
    host = isinstance(operation, Operation)
    if host:
        codes.append(Code.NOT_FOUND)
    if operation.mutates:
        codes.append(Code.CONFLICT)
    if (host and operation.mutates) or op == "runNow":
        codes.append(Code.RATE_LIMITED)
    return tuple(codes)


def is_outcome(operation: AnyOperation) -> bool:
    """Return whether a negative result has the shape of the operation's own output."""
    return issubclass(operation.output, Outcome)


def schemas(ref_template: str) -> dict[str, Any]:
    """Return every type's JSON Schema by name; ``ref_template`` as msgspec takes it."""
    _, components = msgspec.json.schema_components(list(_types()), ref_template=ref_template)
    # A literal cannot be false in msgspec, so its only value is stated here.
    refused = components[ErrorBody.__name__]
    refused["properties"]["success"] = {"const": False}
    refused["required"] = [*refused["required"], "success"]
    return {name: _readable(components[name]) for name in sorted(components)}


def description_of(shape: type[Struct]) -> str:
    """Return a type's documentation as text."""
    return _text(shape.__doc__ or "")


def _types() -> Iterator[type[Struct]]:
    rows: list[AnyOperation] = [*HOST_OPS.values(), *ADMIN_OPS.values()]
    for operation in rows:
        yield operation.input
        yield operation.output
    yield from (ErrorBody, Event, ExecuteRequest, ExecuteResponse, Claims)


def _readable(schema: dict[str, Any]) -> dict[str, Any]:
    if "description" not in schema:
        return schema
    return {**schema, "description": _text(schema["description"])}


def _text(docstring: str) -> str:
    # Python's spelling of code is not that of the documents' readers.
    return inspect.cleandoc(docstring).replace("``", "`").replace("`None`", "`null`")
