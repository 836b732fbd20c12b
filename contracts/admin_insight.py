"""Admin operations that answer what happened: one run in full, and the figures of the hour."""

from typing import Literal

from msgspec import Struct, field

from contracts.admin_schedules import RunInfo
from contracts.inputs import Id, TenantId

AttemptStatus = Literal["running", "success", "error", "skipped"]


class AttemptInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """One attempt of a run. ``finishedAt`` is null while it runs, and where its worker was lost."""

    attempt: int
    worker: str | None
    status: AttemptStatus
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    http_status: int | None
    error: str | None


class GetRunInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One run; an operator who knows the tenant saves a search by giving it."""

    run_id: Id
    tenant_id: TenantId | None = None


class GetRunOutput(Struct, frozen=True, rename="camel", kw_only=True):
    """The run with its attempts, first to last; an unknown run is ``NOT_FOUND``.

    ``retryAt`` is set while the run waits for its next attempt, ``leaseUntil`` while one runs.
    ``requestId`` is that of the latest call to a Runner, as in the logs of worker and Runner;
    ``traceId`` that of the run's trace, which exists where workers export traces.
    """

    run: RunInfo
    attempts: list[AttemptInfo]
    retry_at: str | None
    lease_until: str | None
    request_id: str | None
    trace_id: str


class DueMinute(Struct, frozen=True, rename="camel", kw_only=True):
    """How many slots fall into a minute."""

    minute: str
    count: int


class RunMinute(Struct, frozen=True, rename="camel", kw_only=True):
    """The runs of the slots of a minute, by status."""

    minute: str
    queued: int = 0
    running: int = 0
    success: int = 0
    error: int = 0
    skipped: int = 0
    skipped_overlap: int = 0


class Lateness(Struct, frozen=True, rename="camel", kw_only=True):
    """From slot to call, of the last hour's runs that began at their first attempt, in ms.

    ``spread_ms`` of it are intended: the period over which the starts of one slot are spread.
    """

    runs: int
    p50_ms: int
    p99_ms: int
    max_ms: int
    spread_ms: int = 0


class WorkerInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """A worker: the runs it has in flight, and the most it takes at once."""

    name: str
    up: bool
    started_at: str
    seen_at: str
    in_flight: int
    capacity: int


class StatsInput(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Of one tenant, or of all."""

    tenant_id: TenantId | None = None


class StatsOutput(Struct, frozen=True, rename="camel", kw_only=True):
    """The figures of the last hour and of the coming one; minutes without any are left out.

    ``due`` counts the slots that will fire, without those of paused tenants and disabled installs.
    ``missed`` counts slots that were passed over: those that the runs of the last hour recorded,
    and those that no run has recorded yet. ``queued`` counts the jobs that wait, those for a later
    time included. ``workers`` is empty for a tenant's key.
    """

    at: str
    due: list[DueMinute]
    runs: list[RunMinute]
    lateness: Lateness | None
    enabled_schedules: int
    failing_schedules: int
    paused_tenants: int
    disabled_installs: int
    missed: int
    queued: int
    workers_up: int
    workers: list[WorkerInfo] = field(default_factory=list)
