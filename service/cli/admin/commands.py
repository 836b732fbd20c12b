"""What an admin command does: read its arguments, call the operation page by page, print."""

import sys
from collections.abc import Mapping
from typing import Any

import typer
from msgspec import structs

from contracts.admin import ADMIN_OPS
from service.cli.admin import names
from service.cli.admin.client import AdminClient, to_builtins
from service.cli.admin.command_spec import CommandSpec
from service.cli.admin.output import OutputOptions, print_result
from service.cli.admin.parameters import read_fields
from service.cli.admin.times import parse_instant
from service.cli.errors import EXIT_USAGE, CommandError
from service.cli.output import print_notice

INSTANT_FIELDS = {"since", "until"}
"""Fields that may be given as an age."""
PAGE_ROWS = 200
"""How many rows one request asks for at most."""


def is_paged(op: str) -> bool:
    """Return whether an operation returns its list page by page."""
    operation = ADMIN_OPS[op]
    input_names = {field.name for field in structs.fields(operation.input)}
    return "cursor" in input_names and _list_name(op) != ""


async def execute(spec: CommandSpec, client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Run a command. Raises CommandError."""
    arguments = await names.resolve(client, arguments)
    if spec.action is not None:
        await spec.action(client, arguments)
        return
    fields = {**read_fields(ADMIN_OPS[spec.op].input, arguments), **spec.fixed}
    for name in INSTANT_FIELDS & fields.keys():
        fields[name] = parse_instant(fields[name])
    if is_paged(spec.op):
        output: Any = await _fetch_pages(spec.op, client, fields, arguments)
    else:
        output = await client.call(spec.op, fields)
    options = OutputOptions(
        columns=spec.columns,
        hidden=spec.hidden,
        done=spec.done,
        hint=spec.hint,
        dry_run=bool(arguments.get("dry_run")),
    )
    print_result(client, output, options)


def confirm(spec: CommandSpec, arguments: Mapping[str, Any]) -> None:
    """Ask for confirmation where the command needs it. Raises CommandError where it is denied."""
    if not spec.confirmation or arguments["yes"]:
        return
    question = spec.confirmation.format(**read_fields(ADMIN_OPS[spec.op].input, arguments))
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Confirm with --yes", EXIT_USAGE)
    if not typer.confirm(question, err=True):
        raise CommandError("aborted")


async def _fetch_pages(
    op: str, client: AdminClient, fields: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Fetch rows up to the limit; return them as one page."""
    name, rows, others = _list_name(op), list[Any](), dict[str, list[Any]]()
    limit = None if arguments["everything"] else arguments["limit"]
    cursor = arguments["cursor"]
    while True:
        size = PAGE_ROWS if limit is None else min(PAGE_ROWS, limit - len(rows))
        page = {**fields, "limit": size, **({"cursor": cursor} if cursor else {})}
        activity = f"fetched {len(rows)} {name} so far" if rows else ""
        output = to_builtins(await client.call(op, page, activity))
        rows += output.pop(name)
        cursor = output.pop("nextCursor", None)
        for other, found in output.items():
            known = others.setdefault(other, [])
            known += [value for value in found if value not in known]
        if not cursor or (limit is not None and len(rows) >= limit):
            break
    if cursor and not client.options.as_json:
        print_notice(f"there are more than {len(rows)} {name}: use --all or --limit to show them")
    return {name: rows, **({"nextCursor": cursor} if cursor else {}), **others}


def _list_name(op: str) -> str:
    """Return the name of the list that is an operation's output, empty where it has others."""
    fields = structs.fields(ADMIN_OPS[op].output)
    required = [field.encode_name for field in fields if field.required]
    paged = any(field.name == "next_cursor" for field in fields)
    return required[0] if paged and len(required) == 1 else ""
