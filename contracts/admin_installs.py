"""Admin operations on installs, tenants and the whole database."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from contracts.errors import Outcome
from contracts.inputs import MAX_ENDPOINTS, Capabilities, Id, Label, Name, RunnerPool, TenantId


class ManifestEndpoint(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An endpoint that an extension declares; absence of ``schedulable`` does not exclude."""

    method: str
    path: str
    handler: str
    schedulable: bool | None = None


class ManifestApi(Struct, frozen=True):
    """The part of a manifest that lists endpoints."""

    endpoints: Annotated[list[ManifestEndpoint], Meta(max_length=MAX_ENDPOINTS)] = field(
        default_factory=list
    )


class Manifest(Struct, frozen=True, rename="camel", kw_only=True):
    """An extension's own description of one version; other members are ignored."""

    name: Name
    publisher: Name
    version: Name
    display_name: Label | None = None
    runtime: Label | None = None
    capabilities: Capabilities = field(default_factory=list)
    api: ManifestApi = field(default_factory=ManifestApi)
    ui: dict[str, Any] | None = None
    """Kept for the platform's pages; nothing here reads it."""


class RegisterInstallInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One version of an extension, installed in one tenant. ``grants`` are capabilities.

    Only an operator's key registers a version; a tenant's installs what is registered, and only if
    the manifest and the content hash are the registered ones.
    """

    tenant_id: TenantId
    manifest: Manifest
    content_hash: Name
    grants: Capabilities = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)


class RegisterInstallOutput(Outcome, frozen=True, kw_only=True):
    """The ids of the rows, new or found.

    ``version_id`` is the version registered. An install that was there stays on the version it has,
    ``installed_version_id``, until ``updateInstall`` moves it and its schedules.
    """

    registry_id: str | None = None
    version_id: str | None = None
    install_id: str | None = None
    installed_version_id: str | None = None


class UpdateInstallInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Move an install to the version named by exactly one of ``version`` and ``versionId``."""

    install_id: Id
    version: Name | None = None
    version_id: Id | None = None
    disable_missing_schedules: bool = False
    dry_run: bool = False


class ScheduleTarget(Struct, frozen=True, rename="camel", kw_only=True):
    """A schedule and the endpoint it is for, by method and path."""

    schedule_id: str
    name: str | None
    method: str
    path: str


class UpdateInstallOutput(Outcome, frozen=True, kw_only=True):
    """What was moved, or would be; ``missing`` have no endpoint in the new version."""

    remapped: list[ScheduleTarget] = field(default_factory=list)
    missing: list[ScheduleTarget] = field(default_factory=list)
    reenabled: list[ScheduleTarget] = field(default_factory=list)


class SetInstallEnabledInput(Struct, frozen=True, rename="camel"):
    """Off: nothing fires. On: from the next slot."""

    install_id: Id
    enabled: bool


class SetInstallEnabledOutput(Outcome, frozen=True, kw_only=True):
    """Whether the change was made."""


class ForeignHandle(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """By what another job runner knows a schedule; the handle of a released one is empty."""

    schedule_id: str
    job_id: str | None = None
    runner_schedule_id: str | None = None


class UninstallInput(Struct, frozen=True, rename="camel"):
    """Remove an install and everything that belongs to it except the audit."""

    install_id: Id


class UninstallOutput(Outcome, frozen=True, kw_only=True):
    """How many rows were removed; ``handles`` are jobs that other job runners still have.

    1000 at most of ``handlesInAll``.
    """

    schedules_removed: int | None = None
    runs_removed: int | None = None
    handles_in_all: int | None = None
    handles: list[ForeignHandle] = field(default_factory=list)


class PurgeTenantInput(Struct, frozen=True, rename="camel"):
    """Uninstall everything of a tenant."""

    tenant_id: TenantId


class PurgeTenantOutput(Outcome, frozen=True, kw_only=True):
    """How many rows were removed; ``handles`` as in ``uninstall``."""

    installs_removed: int | None = None
    schedules_removed: int | None = None
    runs_removed: int | None = None
    handles_in_all: int | None = None
    handles: list[ForeignHandle] = field(default_factory=list)


class SetTenantPausedInput(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The kill switch: nothing of the tenant fires while paused; ``reason`` is for people."""

    tenant_id: TenantId
    paused: bool
    reason: Label | None = None


class SetTenantPausedOutput(Outcome, frozen=True, kw_only=True):
    """Whether the change was made."""


class SetTenantPoolInput(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Assign a tenant to a pool of Runners; without ``pool`` to the default one."""

    tenant_id: TenantId
    pool: RunnerPool | None = None


class SetTenantPoolOutput(Outcome, frozen=True, kw_only=True):
    """Whether the change was made."""


class DisableSchedulesInput(Struct, frozen=True, rename="camel"):
    """All schedules of an install."""

    install_id: Id


class DisableSchedulesOutput(Outcome, frozen=True, kw_only=True):
    """How many were enabled before; those that another job runner drives are left as they are."""

    disabled: int | None = None
    driven_by_other: list[ForeignHandle] = field(default_factory=list)


SchemaName = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
"""A schema of the service's own database, as it is spelled there."""


class AdoptInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Take over rows that another job runner drove, its pg-boss schema included where named.

    Only an operator's key may name a schema, because its rows belong to no tenant. With
    ``scheduleIds`` no other schedule is taken over. ``handlesRemovedBy`` is for the audit: the
    command that removed the handles of these schedules from the other job runner.
    """

    tenant_id: TenantId | None = None
    install_id: Id | None = None
    schedule_ids: Annotated[list[Id], Meta(max_length=1000)] | None = None
    pg_boss_schema: SchemaName | None = None
    handles_removed_by: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    dry_run: bool = False


class Problem(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Something that was found and not changed, with its subject."""

    subject: str
    message: str


class AdoptOutput(Outcome, frozen=True, kw_only=True):
    """How many schedules were taken over, what was removed from pg-boss, and what was refused.

    ``handles`` are those by which other job runners may still drive the schedules, 1000 at most of
    ``handlesInAll``: a Temporal schedule fires until ``temporal schedule delete`` has removed it.
    A schedule that was released and has no job yet is listed without a handle. ``problems`` names
    each schedule that was not taken over, and why.
    """

    adopted: int | None = None
    pg_boss_removed: int | None = None
    pg_boss_queues_removed: int | None = None
    handles_in_all: int | None = None
    handles: list[ForeignHandle] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class ReleaseInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Give schedules back to the platform, as ``adopt`` took them."""

    tenant_id: TenantId | None = None
    install_id: Id | None = None
    schedule_id: Id | None = None
    dry_run: bool = False


class ReleaseOutput(Outcome, frozen=True, kw_only=True):
    """How many schedules have no timer and no handle any more: the platform gives them its own."""

    released: int | None = None


class ReconcileInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Find and repair; ``dryRun`` reports only."""

    tenant_id: TenantId | None = None
    dry_run: bool = False


InconsistencyKind = Literal[
    "schedule_without_timer",
    "timer_without_schedule",
    "stale_timer",
    "schedule_without_install",
    "schedule_without_endpoint",
    "job_without_run",
    "run_without_job",
]


class Inconsistency(Struct, frozen=True, rename="camel", kw_only=True):
    """One kind of inconsistency: the number found and repaired, and some of the ids."""

    kind: InconsistencyKind
    found: int
    repaired: int
    examples: list[str]


class ReconcileOutput(Outcome, frozen=True, kw_only=True):
    """Every kind of inconsistency found; empty when there is none."""

    inconsistencies: list[Inconsistency] = field(default_factory=list)


class BackfillEndpointsInput(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Materialise the endpoints of one version, or of all where none is named."""

    version_id: Id | None = None


class BackfillEndpointsOutput(Outcome, frozen=True, kw_only=True):
    """Versions looked at, endpoint rows made, and what in the manifests was malformed."""

    versions: int | None = None
    endpoints_created: int | None = None
    malformed: list[Problem] = field(default_factory=list)
