"""What a command does: read the options, ask page by page, show what came."""

import sys
from collections.abc import Mapping
from typing import Any

import typer
from msgspec import structs

from contracts.admin import ADMIN_OPS
from service.cli.admin.client import Asking, wire
from service.cli.admin.command_specs import Shape
from service.cli.admin.output import Telling, tell
from service.cli.admin.parameters import values
from service.cli.admin.times import instant
from service.cli.errors import EXIT_USAGE, CommandError
from service.cli.output import note

PAGE = 200


def is_paged(op: str) -> bool:
    """Tell whether an operation answers lists page by page."""
    operation = ADMIN_OPS[op]
    asked = {field.name for field in structs.fields(operation.input)}
    return "cursor" in asked and _rows_of(op) != ""


async def work(shape: Shape, asking: Asking, given: Mapping[str, Any]) -> None:
    """Do what the command says. Raises CommandError."""
    if shape.work is not None:
        await shape.work(asking, given)
        return
    fields = {**values(ADMIN_OPS[shape.op].input, given), **shape.fixed}
    if "since" in fields:
        fields["since"] = instant(fields["since"])
    if is_paged(shape.op):
        output: Any = await _pages(shape.op, asking, fields, given)
    else:
        output = await asking.ask(shape.op, fields)
    telling = Telling(
        columns=shape.columns,
        done=shape.done,
        hint=shape.hint,
        dry_run=bool(given.get("dry_run")),
    )
    tell(asking, output, telling)


def confirm(shape: Shape, given: Mapping[str, Any]) -> None:
    """Ask whether it is really meant. Raises CommandError where nobody says yes."""
    if not shape.confirm or given["yes"]:
        return
    question = shape.confirm.format(**values(ADMIN_OPS[shape.op].input, given))
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Say so with --yes", EXIT_USAGE)
    if not typer.confirm(question, err=True):
        raise CommandError("nothing was done")


async def _pages(
    op: str, asking: Asking, fields: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Fetch as many rows as are wanted; return them as one page."""
    name, rows = _rows_of(op), list[Any]()
    wanted = None if given["everything"] else given["limit"]
    cursor = given["cursor"]
    while True:
        size = PAGE if wanted is None else min(PAGE, wanted - len(rows))
        page = {**fields, "limit": size, **({"cursor": cursor} if cursor else {})}
        output = wire(await asking.ask(op, page, f"{len(rows)} {name} so far" if rows else ""))
        rows += output[name]
        cursor = output.get("nextCursor")
        if not cursor or (wanted is not None and len(rows) >= wanted):
            break
    if cursor and not asking.caller.as_json:
        note(f"there are more than {len(rows)} {name}: --all shows them, or --limit")
    return {name: rows, **({"nextCursor": cursor} if cursor else {})}


def _rows_of(op: str) -> str:
    """The list that an operation's output consists of, empty where it is something else."""
    fields = structs.fields(ADMIN_OPS[op].output)
    names = [field.encode_name for field in fields if field.name != "next_cursor"]
    return names[0] if len(names) == 1 and len(fields) == 2 else ""
