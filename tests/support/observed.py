"""The metrics as they are specified: what processes, alerts and dashboards are held to."""

from contracts.admin import ADMIN_OPS
from contracts.context import Reason
from contracts.errors import Code
from contracts.schedules import HOST_OPS
from service.bus.client import BusEvent
from service.requests.responder import ResponderEvent

OPERATIONS = {*HOST_OPS, *ADMIN_OPS}
STATUSES = {"ok", "refused", "failed"}
RUN_STATUSES = {"success", "error", "skipped", "skipped_overlap"}
LOSSES = {event.value for event in (*ResponderEvent, *BusEvent)}

SPECIFIED: dict[str, dict[str, set[str]]] = {
    "api_calls_total": {"operation": OPERATIONS, "status": STATUSES},
    "api_duration_seconds": {"operation": OPERATIONS},
    "api_errors_total": {"operation": OPERATIONS, "code": {code.value for code in Code}},
    "auth_failures_total": {"reason": {reason.value for reason in Reason}},
    "messages_dropped_total": {"reason": LOSSES},
    "runs_total": {"trigger": {"schedule", "catchup", "run_now"}, "status": RUN_STATUSES},
    "run_duration_seconds": {},
    "fire_lateness_seconds": {},
    "processes": {},
    "process_restarts_total": {},
    "retries_total": {},
    "missed_slots_total": {},
    "due_timers": {},
    "queue_depth": {},
    "webhook_deliveries_total": {"outcome": {"delivered", "failed", "dropped"}},
    "unaccounted_slots": {},
    "oldest_xmin_transactions": {},
    "inflight": {"kind": {"request", "waiting", "invocation", "execution"}},
    "pool_connections": {"pool": {"responder", "worker"}, "state": {"open", "idle", "limit"}},
    "nats_connected": {},
    "nats_reconnects_total": {},
}
"""Every metric without its prefix, its labels, and the closed set of values of each."""
PREFIX = "extension_scheduler_"
BUILD_INFO = "ext_scheduler_build_info"
"""The one metric with another prefix, which names the program as scrape jobs do."""
