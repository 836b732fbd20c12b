"""Which function answers which admin operation."""

from service.operations.admin import (
    adopt,
    endpoints,
    installs,
    reads,
    reconcile,
    schedules,
    transfer,
    update_install,
)
from service.operations.admin.transaction import changing, judging, reading

ADMIN_FUNCTIONS = {
    "registerInstall": changing(installs.register_install),
    "updateInstall": changing(update_install.update_install),
    "setInstallEnabled": changing(installs.set_install_enabled),
    "uninstall": changing(installs.uninstall),
    "purgeTenant": changing(installs.purge_tenant),
    "setTenantPaused": changing(installs.set_tenant_paused),
    "disableSchedules": changing(schedules.disable_all),
    "adopt": changing(adopt.adopt),
    "reconcile": changing(reconcile.run),
    "listSchedules": reading(reads.list_schedules, reads.schedule_page_errors),
    "getSchedule": reading(reads.get_schedule),
    "createSchedule": judging(schedules.create),
    "updateSchedule": judging(schedules.update),
    "deleteSchedule": judging(schedules.delete),
    "runNow": changing(schedules.run_now),
    "runHistory": reading(reads.run_history, reads.run_page_errors),
    "previewCron": reading(reads.preview_cron, reads.cron_errors),
    "listEndpoints": reading(reads.list_endpoints),
    "backfillEndpoints": changing(endpoints.backfill),
    "exportTenant": reading(transfer.export_tenant, transfer.export_errors),
    "importTenant": judging(transfer.import_tenant),
    "auditLog": reading(reads.audit_log, reads.audit_page_errors),
}
