"""Host operations: what an extension may do with its own schedules.

The Input types are what a client writes and what the schemas show. The service reads bodies field
by field instead, so that all field errors come at once. Any operation may answer ``ErrorBody`` in
place of its output.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from contracts.errors import Outcome
from contracts.times import read_time

Payload = dict[str, Any] | list[Any]
"""A JSON object or array."""


class ScheduleInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """A schedule as its owner sees it. Members are always there, ``null`` when empty.

    Times are RFC 3339 texts as ``wire_time`` writes them; ``next_run_at`` is null while disabled.
    The properties give them as aware datetimes, in UTC.
    """

    id: str
    endpoint_path: str
    endpoint_method: str
    name: str | None
    cron: str
    timezone: str
    enabled: bool
    payload: Payload | None
    last_run_at: str | None
    last_run_status: str | None
    last_error: str | None
    created_at: str
    updated_at: str
    next_run_at: str | None
    revision: int

    @property
    def last_run(self) -> datetime | None:
        """Return when the last run began."""
        return None if self.last_run_at is None else read_time(self.last_run_at)

    @property
    def created(self) -> datetime:
        """Return when the schedule was created."""
        return read_time(self.created_at)

    @property
    def updated(self) -> datetime:
        """Return when its owner or an administrator last changed it."""
        return read_time(self.updated_at)

    @property
    def next_run(self) -> datetime | None:
        """Return the slot it is due at next."""
        return None if self.next_run_at is None else read_time(self.next_run_at)


class EndpointInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """An endpoint of the install's version; ``schedulable`` says whether a schedule may call it."""

    id: str
    method: str
    path: str
    handler: str
    schedulable: bool


class ListInput(Struct, frozen=True, rename="camel"):
    """Nothing: the context says whose schedules."""


class ListOutput(Struct, frozen=True, rename="camel"):
    """By creation time, then id."""

    schedules: list[ScheduleInfo]


class GetInput(Struct, frozen=True, rename="camel"):
    """One schedule by its UUID."""

    schedule_id: str


class GetOutput(Struct, frozen=True, rename="camel"):
    """Null for an unknown schedule and for another install's alike."""

    schedule: ScheduleInfo | None


class CreateInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """``endpoint`` is ``/path`` or ``METHOD /path``; ``None`` means absent."""

    endpoint: str
    cron: str
    timezone: str | None = None
    enabled: bool | None = None
    name: str | None = None
    payload: Payload | None = None


class CreateOutput(Outcome, frozen=True, kw_only=True):
    """The new schedule's id, or why there is none."""

    schedule_id: str | None = None


class UpdateInput(Struct, frozen=True, rename="camel", kw_only=True):
    """An absent field is unchanged; ``None`` clears ``name`` or ``payload``, and only those."""

    schedule_id: str
    endpoint: str | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    payload: Payload | UnsetType | None = UNSET
    expected_revision: int | UnsetType = UNSET


class UpdateOutput(Outcome, frozen=True, kw_only=True):
    """Whether the update was made."""


class DeleteInput(Struct, frozen=True, rename="camel"):
    """One schedule by its UUID."""

    schedule_id: str


class DeleteOutput(Outcome, frozen=True, kw_only=True):
    """Whether the schedule was removed."""


class GetEndpointsInput(Struct, frozen=True, rename="camel"):
    """Nothing: the context says whose endpoints."""


class GetEndpointsOutput(Struct, frozen=True, rename="camel"):
    """By path, then method, in code-point order."""

    endpoints: list[EndpointInfo]


class Operation(Struct, frozen=True):
    """A row of the table of host operations; ``mutates`` decides replay store and rate limit."""

    input: type[Struct]
    output: type[Struct]
    mutates: bool


HOST_OPS: Mapping[str, Operation] = MappingProxyType(
    {
        "list": Operation(ListInput, ListOutput, mutates=False),
        "get": Operation(GetInput, GetOutput, mutates=False),
        "create": Operation(CreateInput, CreateOutput, mutates=True),
        "update": Operation(UpdateInput, UpdateOutput, mutates=True),
        "delete": Operation(DeleteInput, DeleteOutput, mutates=True),
        "getEndpoints": Operation(GetEndpointsInput, GetEndpointsOutput, mutates=False),
    }
)
"""Wire name → types, for ``ext.scheduler.<op>``."""
