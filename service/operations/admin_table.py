"""Which function answers which admin operation."""

from service.operations import (
    admin_adopt,
    admin_installs,
    admin_materialise,
    admin_reads,
    admin_reconcile,
    admin_remap,
    admin_schedules,
    admin_transfer,
)
from service.operations.admin_frame import changing, judging, reading

ADMIN_FUNCTIONS = {
    "registerInstall": changing(admin_installs.register_install),
    "updateInstall": changing(admin_remap.update_install),
    "setInstallEnabled": changing(admin_installs.set_install_enabled),
    "uninstall": changing(admin_installs.uninstall),
    "purgeTenant": changing(admin_installs.purge_tenant),
    "setTenantPaused": changing(admin_installs.set_tenant_paused),
    "disableSchedules": changing(admin_schedules.disable_all),
    "adopt": changing(admin_adopt.adopt),
    "reconcile": changing(admin_reconcile.run),
    "listSchedules": reading(admin_reads.list_schedules, admin_reads.schedule_page_errors),
    "getSchedule": reading(admin_reads.get_schedule),
    "createSchedule": judging(admin_schedules.create),
    "updateSchedule": judging(admin_schedules.update),
    "deleteSchedule": judging(admin_schedules.delete),
    "runNow": changing(admin_schedules.run_now),
    "runHistory": reading(admin_reads.run_history, admin_reads.run_page_errors),
    "previewCron": reading(admin_reads.preview_cron, admin_reads.cron_errors),
    "listEndpoints": reading(admin_reads.list_endpoints),
    "backfillEndpoints": changing(admin_materialise.backfill),
    "exportTenant": reading(admin_transfer.export_tenant, admin_transfer.export_errors),
    "importTenant": judging(admin_transfer.import_tenant),
    "auditLog": reading(admin_reads.audit_log, admin_reads.audit_page_errors),
}
