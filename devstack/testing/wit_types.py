"""The records and enums of ``alga:extension/types``, as the compiler gives them to Python.

In a component they are generated from the WIT; a test holds these against those. An extension
imports them as ``wit_world.imports.types``.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

E = TypeVar("E")


# Not frozen, as the compiler's is: a context manager could not pass it on.
@dataclass(unsafe_hash=True)
class Err(Exception, Generic[E]):
    """An error code of a host function: ``value`` is the member of its enum."""

    value: E


class StorageError(Enum):
    """Why the storage refused."""

    MISSING = 0
    CONFLICT = 1
    DENIED = 2
    INTERNAL = 3


class SchedulerError(Enum):
    """Why a read of the scheduler failed."""

    NOT_FOUND = 0
    VALIDATION_FAILED = 1
    QUOTA_EXCEEDED = 2
    DENIED = 3
    INTERNAL = 4


@dataclass
class ContextData:
    """Whose call it is; ``request_id`` is new for each."""

    request_id: str | None
    tenant_id: str
    extension_id: str
    install_id: str | None
    version_id: str | None


@dataclass
class HttpHeader:
    """One header of a request or response."""

    name: str
    value: str


@dataclass
class HttpRequest:
    """A call of an endpoint; ``url`` is path and query."""

    method: str
    url: str
    headers: list[HttpHeader]
    body: bytes | None


@dataclass
class ExecuteRequest:
    """What ``WitWorld.handler`` is given."""

    context: ContextData
    http: HttpRequest


@dataclass
class ExecuteResponse:
    """What ``WitWorld.handler`` returns."""

    status: int
    headers: list[HttpHeader]
    body: bytes | None


@dataclass
class StorageEntry:
    """A stored value. On put, a ``revision`` has to be the stored one, 0 where there is none."""

    namespace: str
    key: str
    value: bytes
    revision: int | None


@dataclass
class ScheduleInfo:
    """A schedule as its owner sees it; ``payload`` is JSON text."""

    id: str
    endpoint_path: str
    endpoint_method: str
    name: str | None
    cron: str
    timezone: str
    enabled: bool
    payload: str | None
    last_run_at: str | None
    last_run_status: str | None
    last_error: str | None
    created_at: str | None


@dataclass
class EndpointInfo:
    """An endpoint of the installed version."""

    id: str
    method: str
    path: str
    handler: str
    schedulable: bool


@dataclass
class CreateScheduleInput:
    """A new schedule; ``payload`` is JSON text."""

    endpoint: str
    cron: str
    timezone: str | None
    enabled: bool | None
    name: str | None
    payload: str | None


@dataclass
class CreateScheduleResult:
    """The new schedule's id, or why there is none; ``field_errors`` is JSON text."""

    success: bool
    schedule_id: str | None
    error: str | None
    field_errors: str | None


@dataclass
class UpdateScheduleInput:
    """What to change; None leaves a field alone, the ``payload`` text ``null`` clears it."""

    endpoint: str | None
    cron: str | None
    timezone: str | None
    enabled: bool | None
    name: str | None
    payload: str | None


@dataclass
class UpdateScheduleResult:
    """Whether the update was made; ``field_errors`` is JSON text."""

    success: bool
    error: str | None
    field_errors: str | None


@dataclass
class DeleteScheduleResult:
    """Whether the schedule was deleted."""

    success: bool
    error: str | None
