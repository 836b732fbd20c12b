"""One input and one output of each admin operation: what the golden files hold."""

from msgspec import Struct

from contracts import admin_account as account
from contracts import admin_apply as apply
from contracts import admin_cron
from contracts import admin_explain as explain
from contracts import admin_insight as insight
from contracts import admin_installs as installs
from contracts import admin_load as load
from contracts import admin_reads as reads
from contracts import admin_schedules as admin
from contracts import schedules as host
from contracts.errors import Code
from tests.wire.samples_host import (
    ENDPOINT,
    ENDPOINT_ID,
    INSTALL_ID,
    REQUEST_ID,
    RUN_ID,
    SCHEDULE,
    SCHEDULE_ID,
    TENANT_ID,
    VERSION_ID,
)

TARGET = installs.ScheduleTarget(
    schedule_id=SCHEDULE_ID, name="Heartbeat", method="POST", path="/api/heartbeat"
)
ADMIN_SCHEDULE = admin.AdminScheduleInfo(
    **SCHEDULE,
    tenant_id=TENANT_ID,
    install_id=INSTALL_ID,
    endpoint_id=ENDPOINT_ID,
    runner_schedule_id=f"extsched:{INSTALL_ID}:{SCHEDULE_ID}",
    job_id=SCHEDULE_ID,
)
DOCUMENT = admin.TenantDocument(
    format=1,
    tenant_id=TENANT_ID,
    extensions=[
        admin.PortableExtension(
            publisher="acme",
            name="demo",
            schedules=[
                admin.PortableSchedule(
                    endpoint_method="POST",
                    endpoint_path="/api/heartbeat",
                    name=None,
                    cron="0 * * * *",
                    timezone="UTC",
                    enabled=True,
                    payload=None,
                )
            ],
        )
    ],
)
RUN = admin.RunInfo(
    id=RUN_ID,
    tenant_id=TENANT_ID,
    install_id=INSTALL_ID,
    schedule_id=SCHEDULE_ID,
    slot="2026-03-29T00:30:00.000Z",
    kind="scheduled",
    trigger="catchup",
    status="error",
    attempts=4,
    queued_at="2026-03-29T00:30:00.100Z",
    started_at="2026-03-29T00:30:00.200Z",
    finished_at="2026-03-29T00:32:00.000Z",
    duration_ms=119_800,
    http_status=503,
    error="Runner answered 503",
    missed=2,
    worker=None,
)

INSTALL_SAMPLES: dict[str, tuple[Struct, Struct]] = {
    "registerInstall": (
        installs.RegisterInstallInput(
            tenant_id=TENANT_ID,
            manifest=installs.Manifest(
                name="demo",
                publisher="acme",
                version="1.0.0",
                capabilities=["cap:scheduler.manage"],
                api=installs.ManifestApi(
                    [
                        installs.ManifestEndpoint(
                            method="POST", path="/api/heartbeat", handler="heartbeat"
                        )
                    ]
                ),
            ),
            content_hash="sha256:" + "ab" * 32,
            grants=["cap:scheduler.manage"],
        ),
        installs.RegisterInstallOutput(
            success=True, registry_id=RUN_ID, version_id=VERSION_ID, install_id=INSTALL_ID
        ),
    ),
    "updateInstall": (
        installs.UpdateInstallInput(install_id=INSTALL_ID, version="1.1.0", dry_run=True),
        installs.UpdateInstallOutput(
            success=False,
            code=Code.SCHEDULE_REMAP_FAILED,
            error="1 schedule has no endpoint in version 1.1.0",
            missing=[TARGET],
        ),
    ),
    "setInstallEnabled": (
        installs.SetInstallEnabledInput(INSTALL_ID, enabled=False),
        installs.SetInstallEnabledOutput(success=True),
    ),
    "uninstall": (
        installs.UninstallInput(INSTALL_ID),
        installs.UninstallOutput(success=True, schedules_removed=2, runs_removed=0),
    ),
    "purgeTenant": (
        installs.PurgeTenantInput(TENANT_ID),
        installs.PurgeTenantOutput(
            success=True, installs_removed=1, schedules_removed=2, runs_removed=3
        ),
    ),
    "setTenantPaused": (
        installs.SetTenantPausedInput(TENANT_ID, paused=True, reason="Billing dispute"),
        installs.SetTenantPausedOutput(success=True),
    ),
    "setTenantPool": (
        installs.SetTenantPoolInput(TENANT_ID, pool="eu"),
        installs.SetTenantPoolOutput(success=True),
    ),
    "disableSchedules": (
        installs.DisableSchedulesInput(INSTALL_ID),
        installs.DisableSchedulesOutput(success=True, disabled=2),
    ),
    "adopt": (
        installs.AdoptInput(pg_boss_schema="pgboss", schedule_ids=[SCHEDULE_ID], dry_run=True),
        installs.AdoptOutput(
            success=True,
            adopted=2,
            pg_boss_removed=1,
            pg_boss_queues_removed=1,
            handles_in_all=1,
            handles=[
                installs.ForeignHandle(schedule_id=SCHEDULE_ID, runner_schedule_id="temporal-1")
            ],
            problems=[installs.Problem(subject=SCHEDULE_ID, message="Invalid cron expression")],
        ),
    ),
    "release": (
        installs.ReleaseInput(tenant_id=TENANT_ID, dry_run=True),
        installs.ReleaseOutput(success=True, released=2),
    ),
    "reconcile": (
        installs.ReconcileInput(tenant_id=TENANT_ID),
        installs.ReconcileOutput(
            success=True,
            inconsistencies=[
                installs.Inconsistency(
                    kind="schedule_without_timer", found=1, repaired=1, examples=[SCHEDULE_ID]
                )
            ],
        ),
    ),
    "backfillEndpoints": (
        installs.BackfillEndpointsInput(VERSION_ID),
        installs.BackfillEndpointsOutput(success=True, versions=1, endpoints_created=3),
    ),
}

SCHEDULE_SAMPLES: dict[str, tuple[Struct, Struct]] = {
    "listSchedules": (
        admin.ListSchedulesInput(tenant_id=TENANT_ID, failing=True, limit=50),
        admin.ListSchedulesOutput(schedules=[ADMIN_SCHEDULE], next_cursor="next"),
    ),
    "getSchedule": (
        admin.GetScheduleInput(SCHEDULE_ID),
        admin.GetScheduleOutput(
            ADMIN_SCHEDULE,
            reads.TenantPause(since="2026-03-29T00:30:00.000Z", by="platform/user-7", reason=None),
        ),
    ),
    "createSchedule": (
        admin.CreateScheduleInput(install_id=INSTALL_ID, endpoint_id=ENDPOINT_ID, cron="0 * * * *"),
        host.CreateOutput(success=True, schedule_id=SCHEDULE_ID),
    ),
    "updateSchedule": (
        admin.UpdateScheduleInput(install_id=INSTALL_ID, schedule_id=SCHEDULE_ID, payload=None),
        host.UpdateOutput(success=True),
    ),
    "deleteSchedule": (
        admin.DeleteScheduleInput(INSTALL_ID, SCHEDULE_ID),
        host.DeleteOutput(success=False, code=Code.NOT_FOUND, error="Schedule not found"),
    ),
    "runNow": (
        admin.RunNowInput(SCHEDULE_ID),
        admin.RunNowOutput(success=True, run_id=RUN_ID),
    ),
    "runHistory": (
        admin.RunHistoryInput(
            schedule_id=SCHEDULE_ID, status="error", since="2026-03-01T00:00:00.000Z"
        ),
        admin.RunHistoryOutput(
            runs=[RUN],
            pauses=[
                admin.PausedPeriod(
                    since="2026-03-29T00:30:00.000Z",
                    until=None,
                    by="platform/user-7",
                    reason="billing",
                    slots=3,
                )
            ],
        ),
    ),
    "load": (
        load.LoadInput(tenant_id=TENANT_ID, cron="0 * * * *", timezone="Europe/Berlin"),
        load.LoadOutput(
            begins="2026-03-29T00:00:00.000Z",
            schedules=3,
            slots=4,
            minutes=[3, 0, 1],
            met=load.MetLoad(slots=168, median=1, most=3, most_at="2026-03-29T00:00:00.000Z"),
        ),
    ),
    "loadMinute": (
        load.LoadMinuteInput(minute="2026-03-29T00:00:00Z", tenant_id=TENANT_ID, limit=10),
        load.LoadMinuteOutput(
            minute="2026-03-29T00:00:00.000Z",
            schedules=3,
            tenants=1,
            most=[load.TenantLoad(tenant_id=TENANT_ID, schedules=3)],
        ),
    ),
    "previewCron": (
        admin_cron.PreviewCronInput(cron="0 9 * * 1", timezone="UTC", from_="2026-01-01T00:00:00Z"),
        admin_cron.PreviewCronOutput(
            ["2026-01-05T09:00:00.000Z"],
            "At 09:00, only on Monday, UTC",
            [
                admin_cron.CronSlot(
                    utc="2026-01-05T09:00:00.000Z",
                    local="2026-01-05T09:00:00+00:00",
                    remark=None,
                )
            ],
        ),
    ),
    "listEndpoints": (
        admin.ListEndpointsInput(INSTALL_ID),
        admin.ListEndpointsOutput([ENDPOINT]),
    ),
    "exportTenant": (
        admin.ExportTenantInput(tenant_id=TENANT_ID),
        admin.ExportTenantOutput(document=DOCUMENT),
    ),
    "importTenant": (
        admin.ImportTenantInput(tenant_id="tenant-2", document=DOCUMENT, dry_run=True),
        admin.ImportTenantOutput(
            success=False,
            code=Code.VALIDATION_FAILED,
            error="Invalid timezone",
            row_errors=[
                admin.RowError(
                    extension=0, schedule=0, field_errors={"timezone": "Invalid timezone"}
                )
            ],
        ),
    ),
    "applySchedules": (
        apply.ApplySchedulesInput(
            tenant_id=TENANT_ID,
            installs=[
                apply.DeclaredInstall(
                    publisher="acme",
                    name="reports",
                    schedules=[
                        apply.DeclaredSchedule(
                            name="nightly",
                            endpoint="POST /run",
                            cron="0 3 * * *",
                            timezone="Europe/Berlin",
                            payload={"full": True},
                        )
                    ],
                )
            ],
            prune=True,
            dry_run=True,
        ),
        apply.ApplySchedulesOutput(
            success=True,
            created=0,
            updated=1,
            deleted=0,
            unchanged=2,
            changes=[
                apply.ScheduleChange(
                    action="update",
                    publisher="acme",
                    extension="reports",
                    name="nightly",
                    install_id=INSTALL_ID,
                    schedule_id=SCHEDULE_ID,
                    fields=[apply.FieldChange(field="cron", before="0 2 * * *", after="0 3 * * *")],
                )
            ],
        ),
    ),
    "auditLog": (
        reads.AuditLogInput(install_id=INSTALL_ID, since="2026-03-01T00:00:00.000Z"),
        reads.AuditLogOutput(
            entries=[
                reads.AuditEntry(
                    id=RUN_ID,
                    at="2026-03-29T00:30:00.000Z",
                    tenant_id=TENANT_ID,
                    install_id=INSTALL_ID,
                    actor="user-7",
                    trigger="admin",
                    op="updateSchedule",
                    changes={"enabled": False},
                    request_id=REQUEST_ID,
                )
            ]
        ),
    ),
}

READ_SAMPLES: dict[str, tuple[Struct, Struct]] = {
    "listTenants": (
        reads.ListTenantsInput(paused=True, limit=50),
        reads.ListTenantsOutput(
            tenants=[
                reads.TenantInfo(
                    tenant_id=TENANT_ID,
                    installs=1,
                    enabled_installs=1,
                    schedules=2,
                    enabled_schedules=1,
                    runs_of_day=48,
                    failures_of_day=1,
                    rate_used=0,
                    rate_limit=5,
                    paused=reads.TenantPause(
                        since="2026-03-29T00:30:00.000Z",
                        by="platform/user-7",
                        reason="Billing dispute",
                    ),
                    runner_pool="eu",
                )
            ],
            next_cursor="next",
        ),
    ),
    "listInstalls": (
        reads.ListInstallsInput(tenant_id=TENANT_ID, publisher="acme", name="demo", enabled=True),
        reads.ListInstallsOutput(
            installs=[
                reads.InstallInfo(
                    id=INSTALL_ID,
                    tenant_id=TENANT_ID,
                    registry_id=RUN_ID,
                    publisher="acme",
                    name="demo",
                    version_id=VERSION_ID,
                    version="1.0.0",
                    enabled=True,
                    tenant_paused=False,
                    capabilities=["cap:scheduler.manage"],
                    schedules=2,
                    enabled_schedules=1,
                    quota=50,
                    runs_of_day=48,
                    failures_of_day=1,
                    rate_used=0,
                    rate_limit=10,
                    updated_at=None,
                )
            ]
        ),
    ),
    "getRun": (
        insight.GetRunInput(run_id=RUN_ID),
        insight.GetRunOutput(
            run=RUN,
            attempts=[
                insight.AttemptInfo(
                    attempt=1,
                    worker="worker-1",
                    status="error",
                    started_at="2026-03-29T00:30:00.200Z",
                    finished_at="2026-03-29T00:30:01.000Z",
                    duration_ms=800,
                    http_status=503,
                    error="Runner answered 503",
                )
            ],
            retry_at=None,
            lease_until=None,
            request_id="7f0c8e9a-9a52-8e0b-8a43-0d6f3d8f0009",
            trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        ),
    ),
    "explain": (
        explain.ExplainInput(schedule_id=SCHEDULE_ID, at="02:30"),
        explain.ExplainOutput(
            schedule_id=SCHEDULE_ID,
            tenant_id=TENANT_ID,
            install_id=INSTALL_ID,
            name="Heartbeat",
            cron="30 2 * * *",
            timezone="Europe/Berlin",
            words="At 02:30, Europe/Berlin time",
            next_run_at="2026-03-29T01:00:00.000Z",
            slot="2026-03-28T01:30:00.000Z",
            findings=[
                explain.Finding(
                    code="tenant_paused",
                    text="The tenant is paused: Billing dispute",
                    holds=True,
                    since="2026-03-27T00:00:00.000Z",
                    by="platform/user-7",
                    advice="Resume the tenant; it then fires from the next slot on",
                    run_id=None,
                )
            ],
        ),
    ),
    "account": (
        account.AccountInput(
            tenant_id=TENANT_ID, from_="2026-03-29T00:00:00Z", to="2026-03-29T01:00:00Z", limit=50
        ),
        account.AccountOutput(
            from_="2026-03-29T00:00:00.000Z",
            to="2026-03-29T01:00:00.000Z",
            schedules=[
                account.ScheduleSlots(
                    schedule_id=SCHEDULE_ID,
                    tenant_id=TENANT_ID,
                    install_id=INSTALL_ID,
                    name="Heartbeat",
                    cron="*/5 * * * *",
                    timezone="UTC",
                    deleted_at=None,
                    slots=12,
                    fired=6,
                    missed=1,
                    skipped={"overlap": 1},
                    swallowed={"tenant_paused": 3},
                    superseded=0,
                    waiting=0,
                    unaccounted=1,
                    unaccounted_slots=["2026-03-29T00:30:00.000Z"],
                    absent={},
                )
            ],
            next_cursor="W10",
        ),
    ),
    "stats": (
        insight.StatsInput(TENANT_ID),
        insight.StatsOutput(
            at="2026-03-29T00:30:00.000Z",
            due=[insight.DueMinute(minute="2026-03-29T00:35:00.000Z", count=3)],
            runs=[insight.RunMinute(minute="2026-03-29T00:30:00.000Z", success=2, error=1)],
            lateness=insight.Lateness(runs=3, p50_ms=20, p99_ms=180, max_ms=210, spread_ms=0),
            enabled_schedules=3,
            failing_schedules=1,
            paused_tenants=0,
            disabled_installs=0,
            missed=0,
            queued=1,
            workers_up=1,
            workers=[
                insight.WorkerInfo(
                    name="worker-1",
                    up=True,
                    started_at="2026-03-29T00:00:00.000Z",
                    seen_at="2026-03-29T00:29:55.000Z",
                    in_flight=1,
                    capacity=500,
                )
            ],
        ),
    ),
}

ADMIN_SAMPLES = INSTALL_SAMPLES | SCHEDULE_SAMPLES | READ_SAMPLES
