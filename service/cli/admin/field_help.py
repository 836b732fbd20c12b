"""What people can give for a field of an operation's input: for help, and for what was refused."""

from collections.abc import Mapping

INSTANT = "an instant (RFC 3339, such as 2026-03-29T01:30:00Z)"
AGE = "an age such as 90m, 12h or 7d"

FIELD_HELP: Mapping[str, str] = {
    "installId": "The install: its id, the beginning of it, or tenant/extension.",
    "scheduleId": "The schedule: its id, the beginning of it, or tenant/extension/name.",
    "runId": "The run: its id, or the beginning of it: eight characters or more.",
    "idPrefix": "The beginning of an id: four characters or more.",
    "endpointId": "Id of the endpoint, instead of its path.",
    "endpoint": "'/path' or 'POST /path', as the manifest declares it.",
    "versionId": "Id of the version.",
    "version": "The version, such as 2.0.0.",
    "cron": "Five fields: minute hour day-of-month month day-of-week.",
    "timezone": "IANA name, such as Europe/Berlin; UTC by default.",
    "payload": "JSON object or array, or @FILE.",
    "name": "Name, unique within the install.",
    "enabled": "Whether it fires.",
    "failing": "Whether its last run failed.",
    "held": "Only schedules that something keeps from firing, or only the others.",
    "text": "Part of the name, the path, the extension or the tenant.",
    "sort": "By next or last run; last needs a tenant.",
    "recentRuns": "How many of its latest runs come with each schedule, at most 20.",
    "expectedRevision": "Fail unless the schedule has this revision.",
    "status": "Only runs with this status.",
    "since": f"{AGE[:1].upper()}{AGE[1:]}, or {INSTANT}.",
    "until": "An age, or an instant, likewise.",
    "at": f"HH:MM or 'YYYY-MM-DD HH:MM' on the schedule's clock, or {INSTANT}.",
    "minute": f"A minute of the coming week: {INSTANT}.",
    "reason": "Why, for people who ask later.",
    "paused": "Only tenants that are paused, or are not.",
    "publisher": "The extension's publisher.",
    "from": f"{INSTANT[:1].upper()}{INSTANT[1:]} to begin at; now by default.",
    "count": "Number of slots.",
    "dryRun": "Report the result without making changes.",
    "disableMissingSchedules": "Disable schedules whose endpoint is missing, and continue.",
    "scheduleIds": "Id of a schedule to adopt, and no others; repeatable.",
    "pgBossSchema": "Schema of the pg-boss that currently runs the schedules.",
    "handlesRemovedBy": "For the audit: what removed the handles from the other job runner.",
    "adopt": "Take the schedule over if another job runner drives it; its job there stays.",
    "pool": "The pool, as its bridges are set up with; the default pool without.",
    "actor": "Who made the change, as the log names them: operator/ada.",
    "op": "Only changes by this operation, such as updateSchedule.",
    "tenantId": "The tenant.",
}
"""By wire field, for every operation that has no words of its own in ``OF_OPERATION``."""

OF_OPERATION: Mapping[tuple[str, str], str] = {
    ("listInstalls", "name"): "The extension's name.",
    ("listInstalls", "enabled"): "Only installs that are enabled, or are disabled.",
    ("listSchedules", "enabled"): "Only schedules that are enabled, or are disabled.",
    ("listSchedules", "failing"): "Only schedules whose last run failed, or did not.",
    ("listSchedules", "cron"): "Only schedules with exactly this expression.",
    ("setTenantPaused", "reason"): "Why, for people who ask later; in the audit log.",
}
"""By operation and wire field, where the same field means another thing."""


def field_help(op: str, field: str) -> str:
    """Return what a field of an operation takes, empty where nothing is known."""
    return OF_OPERATION.get((op, field), FIELD_HELP.get(field, ""))
