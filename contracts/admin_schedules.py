"""Admin operations on schedules, runs, endpoints and tenants' documents."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from contracts.admin_explain import HoldCode
from contracts.admin_installs import Problem
from contracts.admin_reads import TenantPause
from contracts.errors import Outcome
from contracts.inputs import (
    MAX_IMPORT_ROWS,
    Cursor,
    Id,
    IdPrefix,
    Label,
    Limit,
    RecentCount,
    TenantId,
)
from contracts.schedules import EndpointInfo, Payload, ScheduleInfo

RunStatus = Literal["queued", "running", "success", "error", "skipped", "skipped_overlap"]


class RunMark(Struct, frozen=True, rename="camel", kw_only=True):
    """A run in short."""

    run_id: str
    slot: str
    status: RunStatus


class AdminScheduleInfo(ScheduleInfo, frozen=True, rename="camel", kw_only=True):
    """A schedule as administrators see it; ``adopt`` takes over one ``drivenBy`` ``other``.

    ``extension`` is ``publisher/name``, ``words`` the expression in English where it can be read;
    ``recentRuns`` are as many as ``listSchedules`` was asked for, oldest first.
    """

    tenant_id: str
    install_id: str
    endpoint_id: str | None
    runner_schedule_id: str | None
    held_by: HoldCode | None = None
    """The first thing that keeps it from firing; ``explain`` says more."""
    job_id: str | None = None
    driven_by: Literal["scheduler", "other"] = "scheduler"
    extension: str | None = None
    words: str | None = None
    recent_runs: list[RunMark] = field(default_factory=list)


class ListSchedulesInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Which schedules to list, and in which order.

    A schedule is ``failing`` if its last run ended in an error, and ``held`` if something keeps it
    from firing. ``text`` is searched for in name, endpoint path, extension and tenant. With
    ``text``, ``cron`` or ``held`` a page may be empty and still have a ``nextCursor``, because a
    request looks at a bounded number of schedules. ``sort``, by next or last run, can be combined
    with ``tenantId`` and ``installId`` only; ``last`` needs a tenant. With ``idPrefix`` there is
    one page at most.
    """

    tenant_id: TenantId | None = None
    install_id: Id | None = None
    enabled: bool | None = None
    failing: bool | None = None
    id_prefix: IdPrefix | None = None
    text: Label | None = None
    cron: Label | None = None
    held: bool | None = None
    sort: Literal["next", "last"] | None = None
    recent_runs: RecentCount | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None


class ListSchedulesOutput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A page."""

    schedules: list[AdminScheduleInfo]
    next_cursor: str | None = None


class GetScheduleInput(Struct, frozen=True, rename="camel"):
    """One schedule of any install that the token may see."""

    schedule_id: Id


class GetScheduleOutput(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The schedule; an unknown one is ``NOT_FOUND``. ``paused`` is its tenant's pause, if any."""

    schedule: AdminScheduleInfo
    paused: TenantPause | None = None


class CreateScheduleInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """As the host's ``create``, plus the install; the endpoint by selector or by id."""

    install_id: Id
    endpoint: str | None = None
    endpoint_id: Id | None = None
    cron: str
    timezone: str | None = None
    enabled: bool | None = None
    name: str | None = None
    payload: Payload | None = None


class UpdateScheduleInput(Struct, frozen=True, rename="camel", kw_only=True):
    """As the host's ``update``, plus the install; the endpoint by selector or by id.

    ``adopt`` takes over a schedule that another job runner drives, which is otherwise a conflict;
    cancelling the job there is left to the caller. ``reason`` is for people, in the audit.
    """

    install_id: Id
    schedule_id: Id
    endpoint: str | UnsetType = UNSET
    endpoint_id: Id | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    payload: Payload | UnsetType | None = UNSET
    expected_revision: int | UnsetType = UNSET
    adopt: bool | UnsetType = UNSET
    reason: Label | UnsetType = UNSET


class DeleteScheduleInput(Struct, frozen=True, rename="camel", omit_defaults=True):
    """As the host's ``delete``, plus the install; ``adopt`` as in ``updateSchedule``."""

    install_id: Id
    schedule_id: Id
    adopt: bool = False


class RunNowInput(Struct, frozen=True, rename="camel"):
    """One manual run; idempotent per schedule and minute."""

    schedule_id: Id


class RunNowOutput(Outcome, frozen=True, kw_only=True):
    """The run record to watch."""

    run_id: str | None = None


class RunInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """A run record. Members are always there, ``null`` when empty; times are RFC 3339."""

    id: str
    tenant_id: str
    install_id: str
    schedule_id: str
    slot: str
    kind: Literal["scheduled", "manual"]
    trigger: Literal["schedule", "catchup", "run_now"]
    status: RunStatus
    attempts: int
    queued_at: str
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    http_status: int | None
    error: str | None
    missed: int
    worker: str | None


class RunHistoryInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Of one schedule, one install, one tenant, or all; an operator gives ``tenantId`` with a
    schedule or install that is deleted. ``since`` and ``until`` (RFC 3339, both inclusive) bound
    the slot.
    """

    tenant_id: TenantId | None = None
    schedule_id: Id | None = None
    install_id: Id | None = None
    status: RunStatus | None = None
    since: str | None = None
    until: str | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None


class PausedPeriod(Struct, frozen=True, rename="camel", kw_only=True):
    """A pause of a tenant, still going on where ``until`` is null.

    ``slots`` are those of the schedule that fell into it, by the expression that it has now.
    """

    since: str
    until: str | None
    by: str
    reason: str | None
    slots: int


class RunHistoryOutput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A page, newest first.

    Of one schedule, ``pauses`` are those of its tenant in the time of the page, newest first: the
    slots that fell into them have no run.
    """

    runs: list[RunInfo]
    next_cursor: str | None = None
    pauses: list[PausedPeriod] = field(default_factory=list)


class ListEndpointsInput(Struct, frozen=True, rename="camel"):
    """Of the version that the install has now."""

    install_id: Id


class ListEndpointsOutput(Struct, frozen=True, rename="camel"):
    """By path, then method, in code-point order."""

    endpoints: list[EndpointInfo]


class PortableSchedule(Struct, frozen=True, rename="camel", kw_only=True):
    """A schedule without ids, so that it survives a move."""

    endpoint_method: str
    endpoint_path: str
    name: str | None = None
    cron: str
    timezone: str = "UTC"
    enabled: bool = True
    payload: Payload | None = None


class PortableExtension(Struct, frozen=True, rename="camel", kw_only=True):
    """An extension's schedules in one tenant."""

    publisher: str
    name: str
    schedules: Annotated[list[PortableSchedule], Meta(max_length=MAX_IMPORT_ROWS)]


class TenantDocument(Struct, frozen=True, rename="camel", kw_only=True):
    """Schedules of a tenant, at most 1000 in all; ``format`` is 1."""

    format: int
    tenant_id: str
    extensions: Annotated[list[PortableExtension], Meta(max_length=MAX_IMPORT_ROWS)]


class ExportTenantInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Whose schedules. What is too much for one import comes as several documents, page by page."""

    tenant_id: TenantId
    limit: Limit | None = None
    cursor: Cursor | None = None


class ExportTenantOutput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The document that ``importTenant`` takes; ``omitted`` are schedules without endpoint."""

    document: TenantDocument
    omitted: list[Problem] = field(default_factory=list)
    next_cursor: str | None = None


class ImportTenantInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """All or nothing; ``tenantId`` is where to, not where from."""

    tenant_id: TenantId
    document: TenantDocument
    dry_run: bool = False


class RowError(Struct, frozen=True, rename="camel", kw_only=True):
    """What cannot be imported of a document; positions count from 0.

    ``schedule`` is null where the extension as a whole is what is wrong.
    """

    extension: int
    schedule: int | None
    field_errors: dict[str, str]


class ImportTenantOutput(Outcome, frozen=True, kw_only=True):
    """How many schedules were made, or would be; otherwise the rows that are wrong."""

    created: int | None = None
    row_errors: list[RowError] = field(default_factory=list)
