"""Admin operations that show people what there is, tenants and installs, and who changed what."""

from typing import Any

from msgspec import Struct

from contracts.inputs import Cursor, Id, IdPrefix, Limit, Name, TenantId


class TenantPause(Struct, frozen=True, rename="camel", kw_only=True):
    """Since when a tenant is paused, by whom, and why where a reason was given."""

    since: str
    by: str
    reason: str | None


class TenantInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """A tenant with installs, or one that is paused or assigned to a Runner pool.

    ``paused`` is null while it fires, ``runnerPool`` in the default pool. Runs and failures are of
    the slots of the last 24 hours; the rate is that of manual runs, used within the last minute.
    """

    tenant_id: str
    installs: int
    enabled_installs: int
    schedules: int
    enabled_schedules: int
    runs_of_day: int
    failures_of_day: int
    rate_used: int
    rate_limit: int
    paused: TenantPause | None
    runner_pool: str | None


class ListTenantsInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Only tenants that are paused, or are not, where ``paused`` is given."""

    tenant_id: TenantId | None = None
    paused: bool | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None


class ListTenantsOutput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A page, by tenant id."""

    tenants: list[TenantInfo]
    next_cursor: str | None = None


class InstallInfo(Struct, frozen=True, rename="camel", kw_only=True):
    """An install. ``capabilities`` are the effective ones; ``quota`` is the number of schedules
    that it may have. Runs and failures are of the slots of the last 24 hours; the rate is that of
    its changes, used within the last minute. Members are always there, ``null`` when empty.
    """

    id: str
    tenant_id: str
    registry_id: str
    publisher: str | None
    name: str | None
    version_id: str
    version: str | None
    enabled: bool
    tenant_paused: bool
    capabilities: list[str]
    schedules: int
    enabled_schedules: int
    quota: int
    runs_of_day: int
    failures_of_day: int
    rate_used: int
    rate_limit: int
    updated_at: str | None


class ListInstallsInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Filters; ``publisher``, ``name`` and ``version`` are compared as they are spelled."""

    tenant_id: TenantId | None = None
    publisher: Name | None = None
    name: Name | None = None
    version: Name | None = None
    enabled: bool | None = None
    id_prefix: IdPrefix | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None


class ListInstallsOutput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A page, by tenant, then id."""

    installs: list[InstallInfo]
    next_cursor: str | None = None


class AuditEntry(Struct, frozen=True, rename="camel", kw_only=True):
    """Who changed what; ``trigger`` is ``host_api`` or ``admin``."""

    id: str
    at: str
    tenant_id: str
    install_id: str | None
    actor: str
    trigger: str
    op: str
    changes: dict[str, Any]
    request_id: str | None


class AuditLogInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """``since`` and ``until`` are RFC 3339; ``scheduleId`` goes with its ``installId``.

    ``actor`` and ``op`` are compared as they are spelled.
    """

    tenant_id: TenantId | None = None
    install_id: Id | None = None
    schedule_id: Id | None = None
    actor: Name | None = None
    op: Name | None = None
    since: str | None = None
    until: str | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None


class AuditLogOutput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A page, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = None
