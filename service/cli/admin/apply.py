"""``admin apply``: make the schedules of installs what a file declares, and show the difference."""

import re
import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct

from contracts.admin_apply import (
    ApplySchedulesOutput,
    DeclaredInstall,
    FieldChange,
    ScheduleChange,
)
from contracts.errors import Code
from service.cli import files
from service.cli.admin.client import AdminClient, outcome_error, to_builtins
from service.cli.admin.output import OutputOptions, print_result
from service.cli.admin.parameters import build_parameters
from service.cli.errors import EXIT_USAGE, CommandError
from service.cli.output import EMPTY_CELL, cell, print_line

APPLY_OPTIONS = build_parameters(
    [
        ("file", Annotated[Path, typer.Argument(help="YAML or JSON; - for standard input.")], ...),
        (
            "prune",
            Annotated[bool, typer.Option(help="Delete what the file's installs have beyond it.")],
            False,
        ),
        (
            "dry_run",
            Annotated[bool, typer.Option(help="Show the difference without making changes.")],
            False,
        ),
        ("yes", Annotated[bool, typer.Option("--yes", "-y", help="Delete unasked.")], False),
    ]
)
SIGNS = {"create": "+", "update": "~", "delete": "-"}
PLACE = re.compile(r"installs\[(\d+)\](?:\.schedules\[(\d+)\])?\.?(.*)")


class ScheduleFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a file for ``apply`` holds; ``--tenant`` may stand in for ``tenant``."""

    tenant: str | None = None
    installs: list[DeclaredInstall]


async def apply(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Apply a file, or only show the difference. Raises CommandError."""
    file = arguments["file"]
    declared: ScheduleFile = files.read_yaml(file, ScheduleFile, "a file of schedules")
    fields = {
        "tenantId": _tenant(client, file, declared),
        "installs": to_builtins(declared.installs),
        "prune": arguments["prune"],
    }
    if arguments["dry_run"]:
        _show(client, declared, await _call(client, fields, dry_run=True), dry_run=True)
        return
    if arguments["prune"] and not arguments["yes"]:
        _confirm(client, declared, await _call(client, fields, dry_run=True))
    _show(client, declared, await _call(client, fields, dry_run=False), dry_run=False)


async def _call(
    client: AdminClient, fields: Mapping[str, Any], *, dry_run: bool
) -> ApplySchedulesOutput:
    output: ApplySchedulesOutput = await client.call(
        "applySchedules", {**fields, "dryRun": dry_run}
    )
    return output


def _tenant(client: AdminClient, file: Path, declared: ScheduleFile) -> str:
    wanted = client.options.tenant.strip("*")
    if wanted and declared.tenant not in {None, wanted}:
        named = f"its tenant is {declared.tenant!r}, and --tenant (or the setting) {wanted!r}"
        raise CommandError(f"{file}: {named}", EXIT_USAGE)
    tenant = wanted or declared.tenant
    if not tenant:
        raise CommandError(f"{file}: names no tenant, and --tenant is missing", EXIT_USAGE)
    return tenant


def _confirm(client: AdminClient, declared: ScheduleFile, planned: ApplySchedulesOutput) -> None:
    """Ask before anything is deleted. Raises CommandError where that is denied."""
    if not planned.success or not planned.deleted:
        return
    question = f"Delete schedules: {planned.deleted}?"
    if not sys.stdin.isatty():
        _show(client, declared, planned, dry_run=True)
        raise CommandError(f"{question} Confirm with --yes", EXIT_USAGE)
    _print_changes(planned)
    if not typer.confirm(question, err=True):
        raise CommandError("aborted")


def _show(
    client: AdminClient, declared: ScheduleFile, output: ApplySchedulesOutput, *, dry_run: bool
) -> None:
    if client.options.as_json:
        print_result(client, output, OutputOptions())
        return
    if not output.success:
        for place, text in (output.field_errors or {}).items():
            print_line(f"{_named(declared, place)}: {cell(text)}")
        error = outcome_error(output)
        if not output.field_errors:
            raise error
        code = (output.code or Code.INTERNAL).value
        count = len(output.field_errors)
        raise CommandError(f"nothing was changed; problems: {count} ({code})", error.status)
    _print_changes(output)
    done = ("to create", "to update", "to delete") if dry_run else ("created", "updated", "deleted")
    counts = (output.created, output.updated, output.deleted)
    parts = [f"{count} {text}" for count, text in zip(counts, done, strict=True)]
    summary = ", ".join([*parts, f"{output.unchanged} unchanged"])
    print_line(f"dry run, no changes made: {summary}" if dry_run else summary)


def _named(declared: ScheduleFile, place: str) -> str:
    """Return a place of the document by the names that a person wrote there."""
    match = PLACE.fullmatch(place)
    if match is None:
        return place
    install = declared.installs[int(match[1])]
    names = [install.publisher, install.name]
    if match[2] is not None:
        names.append(install.schedules[int(match[2])].name)
    path = cell("/".join(names))
    return f"{path}: {cell(match[3])}" if match[3] else path


def _print_changes(output: ApplySchedulesOutput) -> None:
    for (publisher, extension), changes in groupby(
        output.changes, lambda change: (change.publisher, change.extension)
    ):
        print_line(f"{cell(publisher)}/{cell(extension)}")
        for change in changes:
            _print_change(change)


def _print_change(change: ScheduleChange) -> None:
    name = cell(change.name) if change.name else f"(no name) {change.schedule_id}"
    print_line(f"  {SIGNS[change.action]} {name}")
    width = max((len(field.field) for field in change.fields), default=0)
    for field in change.fields:
        print_line(f"      {field.field.ljust(width)}  {_change_text(change, field)}")


def _change_text(change: ScheduleChange, field: FieldChange) -> str:
    before = EMPTY_CELL if field.before is None else cell(field.before)
    after = EMPTY_CELL if field.after is None else cell(field.after)
    return {"create": after, "delete": before}.get(change.action, f"{before}  →  {after}")
