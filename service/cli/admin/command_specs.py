"""How each admin command reads: its name, arguments, examples and table.

An operation without a row here has a command all the same, named after it, with its required
fields as arguments.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any

from msgspec import Struct, structs

from contracts.admin import ADMIN_OPS
from service.cli.admin import documents, installs, runs
from service.cli.admin.client import Asking

Work = Callable[[Asking, Mapping[str, Any]], Awaitable[None]]
"""Does what a command does that is more than asking and showing; is given the options."""

NOTHING: Mapping[str, Any] = {}
PREFIX = "ext-scheduler admin"


class Shape(Struct, frozen=True, kw_only=True):
    """One command.

    ``summary`` may name fields in braces for the confirmation; ``arguments`` are optional fields
    that are positional; ``fixed`` are wire fields that the command itself says; ``columns`` those
    of its table, all where empty; ``own`` replace the options made from the input.
    """

    op: str
    name: str
    summary: str
    examples: Sequence[str] = ()
    arguments: Sequence[str] = ()
    fixed: Mapping[str, Any] = NOTHING
    columns: Sequence[str] = ()
    confirm: str = ""
    hint: str = ""
    done: str = "done"
    own: Sequence[Parameter] | None = None
    extra: Sequence[Parameter] = ()
    work: Work | None = None


SHAPES = [
    Shape(
        op="registerInstall",
        name="register",
        summary="Install one version of an extension in a tenant, or make a further version known.",
        examples=(
            "register manifest.json --tenant acme --component ext.wasm --grant-declared",
            "register manifest.json --tenant acme --content-hash sha256:… --config region=eu",
        ),
        own=installs.REGISTER_OPTIONS,
        work=installs.register,
    ),
    Shape(
        op="updateInstall",
        name="update",
        summary="Move an install and its schedules to another version.",
        examples=(
            "update INSTALL --version 2.0.0 --dry-run",
            "update INSTALL --version 2.0.0",
            "update INSTALL --version 2.0.0 --disable-missing-schedules",
        ),
        hint="nothing was changed; --disable-missing-schedules goes on without them",
        columns=("scheduleId", "name", "method", "path"),
    ),
    Shape(
        op="setInstallEnabled",
        name="enable",
        summary="Let an install fire again, from the next slot.",
        examples=("enable INSTALL",),
        fixed={"enabled": True},
        done="enabled",
    ),
    Shape(
        op="setInstallEnabled",
        name="disable",
        summary="Let nothing of an install fire; its schedules and settings stay.",
        examples=("disable INSTALL",),
        fixed={"enabled": False},
        done="disabled",
    ),
    Shape(
        op="uninstall",
        name="uninstall",
        summary="Remove an install with its schedules, runs and settings. The audit stays.",
        examples=("uninstall INSTALL", "uninstall INSTALL --yes"),
        confirm="Remove install {installId} with all its schedules and runs?",
    ),
    Shape(
        op="purgeTenant",
        name="purge",
        summary="Remove everything of a tenant. The audit stays.",
        examples=("purge acme", "purge acme --yes --json"),
        confirm="Remove all installs, schedules and runs of tenant {tenantId}?",
    ),
    Shape(
        op="setTenantPaused",
        name="pause",
        summary="Let nothing of a tenant fire until it is resumed.",
        examples=("pause acme",),
        fixed={"paused": True},
        done="paused",
    ),
    Shape(
        op="setTenantPaused",
        name="resume",
        summary="Lift a tenant's pause; firing goes on with the next slot.",
        examples=("resume acme",),
        fixed={"paused": False},
        done="resumed",
    ),
    Shape(
        op="disableSchedules",
        name="disable-schedules",
        summary="Disable all schedules of an install; each stays so until it is enabled again.",
        examples=("disable-schedules INSTALL",),
    ),
    Shape(
        op="listSchedules",
        name="list",
        summary="Show schedules.",
        examples=("list --tenant acme", "list --failing --all", "list --install-id INSTALL --json"),
        columns=(
            "id",
            "name",
            "endpointMethod",
            "endpointPath",
            "cron",
            "timezone",
            "enabled",
            "nextRunAt",
            "lastRunStatus",
            "tenantId",
        ),
    ),
    Shape(
        op="getSchedule",
        name="show",
        summary="Show all there is to know of one schedule.",
        examples=("show SCHEDULE", "show SCHEDULE --json"),
    ),
    Shape(
        op="createSchedule",
        name="create",
        summary="Create a schedule as its extension would.",
        examples=(
            "create INSTALL '0 3 * * *' --endpoint 'POST /api/report' --timezone Europe/Berlin",
            "create INSTALL '*/15 * * * *' --endpoint /api/sync --payload '{\"full\": true}'",
        ),
    ),
    Shape(
        op="updateSchedule",
        name="change",
        summary="Change a schedule as its extension would; what is not named stays.",
        examples=(
            "change INSTALL SCHEDULE --cron '30 4 * * *'",
            "change INSTALL SCHEDULE --no-enabled --clear-payload",
        ),
    ),
    Shape(
        op="deleteSchedule",
        name="delete",
        summary="Delete a schedule as its extension would.",
        examples=("delete INSTALL SCHEDULE --yes",),
        confirm="Delete schedule {scheduleId}?",
        done="deleted",
    ),
    Shape(
        op="runNow",
        name="run-now",
        summary="Call a schedule's endpoint once, now; within a minute it is the same run.",
        examples=("run-now SCHEDULE", "run-now SCHEDULE --wait 60"),
        extra=runs.RUN_NOW_OPTIONS,
        work=runs.run_now,
    ),
    Shape(
        op="runHistory",
        name="history",
        summary="Show runs, newest first.",
        examples=("history SCHEDULE", "history --install-id INSTALL --status error --all"),
        arguments=("schedule_id",),
        columns=(
            "id",
            "slot",
            "trigger",
            "status",
            "attempts",
            "startedAt",
            "durationMs",
            "httpStatus",
            "missed",
            "error",
        ),
    ),
    Shape(
        op="previewCron",
        name="preview-cron",
        summary="Show when a cron expression would fire.",
        examples=("preview-cron '30 1 * * *' --timezone Europe/Berlin --count 5",),
    ),
    Shape(
        op="listEndpoints",
        name="endpoints",
        summary="Show the endpoints of the version that an install has.",
        examples=("endpoints INSTALL",),
    ),
    Shape(
        op="backfillEndpoints",
        name="backfill-endpoints",
        summary="Make the endpoint rows that manifests have and the table lacks. Operators only.",
        examples=("backfill-endpoints", "backfill-endpoints --version-id VERSION"),
    ),
    Shape(
        op="exportTenant",
        name="export",
        summary="Write a tenant's schedules to a file that `import` takes, here or elsewhere.",
        examples=("export acme --out acme.json", "export acme > acme.json"),
        extra=documents.EXPORT_OPTIONS,
        work=documents.export,
    ),
    Shape(
        op="importTenant",
        name="import",
        summary="Create the schedules of an exported file, all of a document or none.",
        examples=(
            "import acme.json --tenant acme --dry-run",
            "import acme.json --tenant acme-2",
        ),
        own=documents.IMPORT_OPTIONS,
        work=documents.import_,
    ),
    Shape(
        op="auditLog",
        name="audit",
        summary="Show who changed what, newest first.",
        examples=("audit --since 12h", "audit --install-id INSTALL --all --json"),
        columns=("at", "actor", "op", "tenantId", "installId", "changes", "requestId"),
    ),
    Shape(
        op="adopt",
        name="adopt",
        summary="Take over schedules that another job runner drove, so that nothing fires twice.",
        examples=("adopt --pg-boss-schema pgboss --dry-run", "adopt --tenant acme"),
    ),
    Shape(
        op="reconcile",
        name="reconcile",
        summary="Find schedules, timers, runs and jobs that do not fit together, and repair them.",
        examples=("reconcile --dry-run", "reconcile --tenant acme"),
        done="no inconsistencies found",
    ),
]


def shapes() -> list[Shape]:
    """The commands of all operations, those without a row of their own last."""
    shaped = {shape.op for shape in SHAPES}
    return SHAPES + [_plain(op) for op in ADMIN_OPS if op not in shaped]


def wire_shapes() -> list[Shape]:
    """The same commands under the operations' own names, where those differ."""
    taken = {shape.name for shape in shapes()}
    # Of several commands for one operation any will do: here the person says all of it.
    by_op = {shape.op: shape for shape in SHAPES if wire_name(shape.op) not in taken}
    return [
        _plain(op) if shape.fixed else structs.replace(shape, name=wire_name(op))
        for op, shape in by_op.items()
    ]


def wire_name(op: str) -> str:
    """Write an operation's name as a command's: ``runNow`` as ``run-now``."""
    return re.sub(r"(?=[A-Z])", "-", op).lower()


def _plain(op: str) -> Shape:
    summary = " ".join((ADMIN_OPS[op].input.__doc__ or op).split())
    return Shape(op=op, name=wire_name(op), summary=summary)
