"""The table of admin operations: what the platform and its operators may call.

Any operation may answer ``ErrorBody`` in place of its output. Lists are keyset pages: ``limit`` is
at most 200, ``cursor`` is the ``nextCursor`` of the page before, absent on the last page. Where a
``tenantId`` is optional, its absence means the token's own tenant, or all for an operator.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from contracts import admin_account, admin_apply, admin_cron, admin_explain, admin_load
from contracts import admin_insight as insight
from contracts import admin_installs as installs
from contracts import admin_reads as reads
from contracts import admin_schedules as schedules
from contracts.schedules import CreateOutput, DeleteOutput, UpdateOutput

Permission = Literal["extension:read", "extension:write"]


class AdminOperation(Struct, frozen=True):
    """A row of the table; an ``operator_only`` operation acts on data that all tenants share.

    One with ``more_for_operators`` does so in addition when the token is for all tenants.
    """

    input: type[Struct]
    output: type[Struct]
    mutates: bool
    permission: Permission
    operator_only: bool = False
    more_for_operators: bool = False


def _read(input: type[Struct], output: type[Struct]) -> AdminOperation:  # noqa: A002 - as the field
    return AdminOperation(input, output, mutates=False, permission="extension:read")


def _write(
    input: type[Struct],  # noqa: A002 - as the field
    output: type[Struct],
    *,
    operator_only: bool = False,
    more_for_operators: bool = False,
) -> AdminOperation:
    return AdminOperation(input, output, True, "extension:write", operator_only, more_for_operators)


ADMIN_OPS: Mapping[str, AdminOperation] = MappingProxyType(
    {
        "registerInstall": _write(
            installs.RegisterInstallInput, installs.RegisterInstallOutput, more_for_operators=True
        ),
        "updateInstall": _write(installs.UpdateInstallInput, installs.UpdateInstallOutput),
        "setInstallEnabled": _write(
            installs.SetInstallEnabledInput, installs.SetInstallEnabledOutput
        ),
        "uninstall": _write(installs.UninstallInput, installs.UninstallOutput),
        "purgeTenant": _write(installs.PurgeTenantInput, installs.PurgeTenantOutput),
        "setTenantPaused": _write(installs.SetTenantPausedInput, installs.SetTenantPausedOutput),
        "setTenantPool": _write(
            installs.SetTenantPoolInput, installs.SetTenantPoolOutput, operator_only=True
        ),
        "disableSchedules": _write(installs.DisableSchedulesInput, installs.DisableSchedulesOutput),
        "adopt": _write(installs.AdoptInput, installs.AdoptOutput, more_for_operators=True),
        "release": _write(installs.ReleaseInput, installs.ReleaseOutput),
        "reconcile": _write(installs.ReconcileInput, installs.ReconcileOutput),
        "listTenants": _read(reads.ListTenantsInput, reads.ListTenantsOutput),
        "listInstalls": _read(reads.ListInstallsInput, reads.ListInstallsOutput),
        "listSchedules": _read(schedules.ListSchedulesInput, schedules.ListSchedulesOutput),
        "getSchedule": _read(schedules.GetScheduleInput, schedules.GetScheduleOutput),
        "createSchedule": _write(schedules.CreateScheduleInput, CreateOutput),
        "updateSchedule": _write(schedules.UpdateScheduleInput, UpdateOutput),
        "deleteSchedule": _write(schedules.DeleteScheduleInput, DeleteOutput),
        "runNow": _write(schedules.RunNowInput, schedules.RunNowOutput),
        "runHistory": _read(schedules.RunHistoryInput, schedules.RunHistoryOutput),
        "getRun": _read(insight.GetRunInput, insight.GetRunOutput),
        "stats": _read(insight.StatsInput, insight.StatsOutput),
        "explain": _read(admin_explain.ExplainInput, admin_explain.ExplainOutput),
        "account": _read(admin_account.AccountInput, admin_account.AccountOutput),
        "load": _read(admin_load.LoadInput, admin_load.LoadOutput),
        "loadMinute": _read(admin_load.LoadMinuteInput, admin_load.LoadMinuteOutput),
        "previewCron": _read(admin_cron.PreviewCronInput, admin_cron.PreviewCronOutput),
        "listEndpoints": _read(schedules.ListEndpointsInput, schedules.ListEndpointsOutput),
        "backfillEndpoints": _write(
            installs.BackfillEndpointsInput, installs.BackfillEndpointsOutput, operator_only=True
        ),
        "exportTenant": _read(schedules.ExportTenantInput, schedules.ExportTenantOutput),
        "importTenant": _write(schedules.ImportTenantInput, schedules.ImportTenantOutput),
        "applySchedules": _write(admin_apply.ApplySchedulesInput, admin_apply.ApplySchedulesOutput),
        "auditLog": _read(reads.AuditLogInput, reads.AuditLogOutput),
    }
)
"""Wire name → types and demands, for ``ext.scheduler.admin.<op>``."""
