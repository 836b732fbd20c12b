"""How each admin command reads: its name, arguments, examples and table.

An operation without a spec here still has a command, named after it, with its required fields as
positional arguments.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from contracts.admin import ADMIN_OPS
from service.cli.admin import account, adopt, apply, documents, load, runs, why
from service.cli.admin.client import AdminClient
from service.cli.admin.command_spec import CommandSpec
from service.cli.admin.install_commands import INSTALL_COMMANDS

PREFIX = "ext-scheduler admin"


async def watch(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Follow events and runs; what that needs of the bus is imported now, not for the help."""
    from service.cli.admin.watch import watch as follow  # noqa: PLC0415 - see above

    await follow(client, arguments)


async def stats(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Print the figures; what that needs of the bus is imported now, not for the help."""
    from service.cli.admin.stats import stats as show  # noqa: PLC0415 - see above

    await show(client, arguments)


SPECS = [
    *INSTALL_COMMANDS,
    CommandSpec(
        op="listSchedules",
        name="list",
        summary="List schedules.",
        examples=("list --tenant acme", "list --failing --all", "list --install-id INSTALL --json"),
        columns=(
            "id",
            "name",
            "enabled",
            "heldBy",
            "nextRunAt",
            "lastRunStatus",
            "words",
            "endpointMethod",
            "endpointPath",
            "tenantId",
            "cron",
            "timezone",
            "drivenBy",
        ),
    ),
    CommandSpec(
        op="getSchedule",
        name="show",
        summary="Show one schedule in full.",
        examples=("show SCHEDULE", "show SCHEDULE --json"),
        hidden=("recentRuns",),
    ),
    CommandSpec(
        op="createSchedule",
        name="create",
        summary="Create a schedule on behalf of its extension.",
        examples=(
            "create INSTALL '0 3 * * *' --endpoint 'POST /api/report' --timezone Europe/Berlin",
            "create INSTALL '*/15 * * * *' --endpoint /api/sync --payload '{\"full\": true}'",
        ),
    ),
    CommandSpec(
        op="updateSchedule",
        name="change",
        summary="Change a schedule on behalf of its extension; fields not given stay unchanged.",
        examples=(
            "change INSTALL SCHEDULE --cron '30 4 * * *'",
            "change INSTALL SCHEDULE --no-enabled --clear-payload",
        ),
    ),
    CommandSpec(
        op="deleteSchedule",
        name="delete",
        summary="Delete a schedule on behalf of its extension.",
        examples=("delete INSTALL SCHEDULE --yes",),
        confirmation="Delete schedule {scheduleId}?",
        done="deleted",
    ),
    CommandSpec(
        op="runNow",
        name="run-now",
        summary="Run a schedule once, now; repeating this within a minute returns the same run.",
        examples=("run-now SCHEDULE", "run-now SCHEDULE --wait 60"),
        extra_parameters=runs.RUN_NOW_OPTIONS,
        action=runs.run_now,
    ),
    CommandSpec(
        op="runHistory",  # and events; before `history`, which has the operation's wire name
        name="watch",
        summary="Follow events and runs as they happen, until Ctrl-C; JSON lines with --json.",
        examples=("watch", "watch --tenant acme", "watch --json | jq ."),
        own_parameters=(),
        action=watch,
    ),
    CommandSpec(
        op="runHistory",
        name="history",
        summary="List runs, newest first.",
        examples=(
            "history SCHEDULE",
            "history --install-id INSTALL --status error --all",
            "history --tenant acme --since 12h --status error",
        ),
        positional=("schedule_id",),
        columns=(
            "id",
            "scheduleId",
            "slot",
            "status",
            "error",
            "attempts",
            "durationMs",
            "httpStatus",
            "trigger",
            "startedAt",
            "missed",
            "tenantId",
        ),
    ),
    CommandSpec(
        op="getRun",
        name="run",
        summary="Show one run with each of its attempts.",
        examples=("run RUN", "run RUN --tenant acme --json"),
        columns=("attempt", "status", "error", "startedAt", "durationMs", "httpStatus", "worker"),
    ),
    CommandSpec(
        op="stats",
        name="stats",
        summary="Show the figures of the last hour and the coming one: runs, lateness, workers.",
        examples=("stats", "stats --tenant acme --json"),
        action=stats,
    ),
    CommandSpec(
        op="explain",
        name="why",
        summary="Explain why a schedule fires or does not, and what became of one of its slots.",
        examples=(
            "why SCHEDULE",
            "why SCHEDULE --at 02:30",
            "why SCHEDULE --at 2026-03-29T01:30:00Z --json",
        ),
        action=why.why,
    ),
    CommandSpec(
        op="account",
        name="account",
        summary="Account for every slot of a window; fails where one is unaccounted for.",
        examples=("account", "account --tenant acme --from 7d", "account --from 24h --json"),
        own_parameters=account.OPTIONS,
        action=account.account,
    ),
    CommandSpec(
        op="load",
        name="load",
        summary="Show the most crowded minutes of the coming week, and what a schedule would meet.",
        examples=(
            "load",
            "load --tenant acme --minute 2026-03-29T01:30:00Z",
            "load --cron '0 3 * * *' --timezone Europe/Berlin",
        ),
        action=load.load,
    ),
    CommandSpec(
        op="loadMinute",
        name="load-minute",
        summary="List the tenants whose schedules fall into a minute of the coming week.",
        examples=("load-minute 2026-03-29T01:30:00Z", "load-minute 2026-03-29T01:30:00Z --json"),
    ),
    CommandSpec(
        op="previewCron",
        name="preview-cron",
        summary="List the slots of a cron expression, in words and on the clock of its zone.",
        examples=("preview-cron '30 1 * * *' --timezone Europe/Berlin --count 5",),
        columns=("utc", "local", "remark"),
        hidden=("slots",),
    ),
    CommandSpec(
        op="listEndpoints",
        name="endpoints",
        summary="List the endpoints of an install's current version.",
        examples=("endpoints INSTALL",),
    ),
    CommandSpec(
        op="backfillEndpoints",
        name="backfill-endpoints",
        summary="Create missing endpoint rows from the manifests. Operators only.",
        examples=("backfill-endpoints", "backfill-endpoints --version-id VERSION"),
    ),
    CommandSpec(
        op="exportTenant",
        name="export",
        summary="Export a tenant's schedules to a file for `import`.",
        examples=("export acme --out acme.json", "export acme > acme.json"),
        extra_parameters=documents.EXPORT_OPTIONS,
        action=documents.export,
    ),
    CommandSpec(
        op="importTenant",
        name="import",
        summary="Create the schedules of an exported file: all of a document, or none.",
        examples=(
            "import acme.json --tenant acme --dry-run",
            "import acme.json --tenant acme-2",
        ),
        own_parameters=documents.IMPORT_OPTIONS,
        action=documents.import_,
    ),
    CommandSpec(
        op="applySchedules",
        name="apply",
        summary="Make the schedules of installs what a file declares: all of it, or nothing.",
        examples=(
            "apply schedules.yaml --dry-run",
            "apply schedules.yaml --prune --yes --json",
        ),
        own_parameters=apply.APPLY_OPTIONS,
        action=apply.apply,
    ),
    CommandSpec(
        op="auditLog",
        name="audit",
        summary="List who changed what, newest first.",
        examples=("audit --since 12h", "audit --install-id INSTALL --all --json"),
        columns=("at", "actor", "op", "tenantId", "changes", "installId", "requestId"),
    ),
    CommandSpec(
        op="adopt",
        name="adopt",
        summary="Take over schedules from another job runner, and remove them there if told how.",
        examples=(
            "adopt --pg-boss-schema pgboss --dry-run",
            "adopt --tenant acme --pg-boss-schema pgboss",
            "adopt --temporal-command 'temporal schedule delete --schedule-id {id}' --dry-run",
        ),
        extra_parameters=adopt.ADOPT_OPTIONS,
        action=adopt.adopt,
    ),
    CommandSpec(
        op="release",
        name="release",
        summary="Give schedules back to the platform: nothing fires them until it does.",
        examples=("release --tenant acme --dry-run", "release --install-id INSTALL"),
    ),
    CommandSpec(
        op="reconcile",
        name="reconcile",
        summary="Find and repair inconsistencies between schedules, timers, runs and jobs.",
        examples=("reconcile --dry-run", "reconcile --tenant acme"),
        done="no inconsistencies found",
    ),
]


def all_specs() -> list[CommandSpec]:
    """Return the specs of all operations, those without a spec of their own last."""
    specified = {spec.op for spec in SPECS}
    return SPECS + [_default_spec(op) for op in ADMIN_OPS if op not in specified]


def wire_name_specs() -> list[CommandSpec]:
    """Return the same commands under the operations' wire names, where those differ."""
    taken = {spec.name for spec in all_specs()}
    # Where one operation has several commands, each with its fixed fields, all fields are given.
    by_op = {spec.op: spec for spec in SPECS if wire_name(spec.op) not in taken}
    return [
        _default_spec(op) if spec.fixed else structs.replace(spec, name=wire_name(op))
        for op, spec in by_op.items()
    ]


def wire_name(op: str) -> str:
    """Return an operation's wire name as a command's: ``runNow`` as ``run-now``."""
    return re.sub(r"(?=[A-Z])", "-", op).lower()


def _default_spec(op: str) -> CommandSpec:
    summary = " ".join((ADMIN_OPS[op].input.__doc__ or op).split())
    return CommandSpec(op=op, name=wire_name(op), summary=summary)
