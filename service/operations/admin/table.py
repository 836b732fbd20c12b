"""Which function answers which admin operation."""

from service.operations.admin import (
    adopt,
    directory,
    endpoints,
    insight,
    installs,
    reads,
    reconcile,
    schedules,
    transfer,
    update_install,
)
from service.operations.admin.transaction import (
    raw_write_operation,
    read_operation,
    write_operation,
)

ADMIN_FUNCTIONS = {
    "registerInstall": write_operation(installs.register_install, new_tenant=True),
    "updateInstall": write_operation(update_install.update_install),
    "setInstallEnabled": write_operation(installs.set_install_enabled),
    "uninstall": write_operation(installs.uninstall),
    "purgeTenant": write_operation(installs.purge_tenant),
    "setTenantPaused": write_operation(installs.set_tenant_paused),
    "disableSchedules": write_operation(schedules.disable_all),
    "adopt": write_operation(adopt.adopt),
    "reconcile": write_operation(reconcile.run),
    "listTenants": read_operation(directory.list_tenants, directory.tenant_page_errors),
    "listInstalls": read_operation(directory.list_installs, directory.install_page_errors),
    "listSchedules": read_operation(reads.list_schedules, reads.schedule_page_errors),
    "getSchedule": read_operation(reads.get_schedule),
    "createSchedule": raw_write_operation(schedules.create),
    "updateSchedule": raw_write_operation(schedules.update),
    "deleteSchedule": raw_write_operation(schedules.delete),
    "runNow": write_operation(schedules.run_now),
    "runHistory": read_operation(reads.run_history, reads.run_page_errors),
    "getRun": read_operation(insight.get_run),
    "stats": read_operation(insight.stats),
    "previewCron": read_operation(reads.preview_cron, reads.cron_errors),
    "listEndpoints": read_operation(reads.list_endpoints),
    "backfillEndpoints": write_operation(endpoints.backfill),
    "exportTenant": read_operation(transfer.export_tenant, transfer.export_errors),
    "importTenant": raw_write_operation(transfer.import_tenant),
    "auditLog": read_operation(reads.audit_log, reads.audit_page_errors),
}
