"""An operation's output, as a person or a program reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from contracts.errors import Outcome
from service.cli.admin.client import Asking, negative, wire
from service.cli.errors import CommandError
from service.cli.output import put, put_json, put_members, put_table

OUTCOME = {"success", "code", "error", "fieldErrors", "retryAfterMs", "nextCursor"}


class Telling(Struct, frozen=True, kw_only=True):
    """How to show an output.

    ``columns`` are those of its tables, all where empty; ``done`` is said where there is nothing
    to show, ``hint`` where the service refuses and lists why.
    """

    columns: Sequence[str] = ()
    done: str = "done"
    hint: str = ""
    dry_run: bool = False


def tell(asking: Asking, output: Any, telling: Telling) -> None:  # noqa: ANN401 - any operation's output
    """Show an output. Raises CommandError where it is negative, after showing what it lists."""
    refused = isinstance(output, Outcome) and not output.success
    told = {name: value for name, value in wire(output).items() if name not in OUTCOME}
    if refused:
        told = {name: value for name, value in told.items() if isinstance(value, list) and value}
    if asking.caller.as_json:
        put_json(output)
    elif told or not refused:
        if telling.dry_run:
            put("dry run: nothing was changed")
        _show(told, telling, named=isinstance(output, Outcome))
    if refused:
        failure = negative(output)
        hint = f"; {telling.hint}" if telling.hint and told else ""
        raise CommandError(f"{failure}{hint}", failure.status)


def _show(told: Mapping[str, Any], telling: Telling, *, named: bool) -> None:
    """Print values by name, single Structs likewise, and lists as tables.

    A page is what was asked for; the lists of a change are several, so each is ``named``.
    """
    if not told:
        put(telling.done)
    values = {name: value for name, value in told.items() if not isinstance(value, list | dict)}
    if values:
        put_members(values)
    for name, value in told.items():
        if isinstance(value, dict):
            put_members(value)
        elif isinstance(value, list):
            _show_list(name, value, telling.columns, named=named or len(told) > 1)


def _show_list(name: str, rows: Sequence[Any], columns: Sequence[str], *, named: bool) -> None:
    if not rows:
        put(f"no {name}")
        return
    if named:
        put(f"{name} ({len(rows)}):")
    if isinstance(rows[0], dict):
        put_table(rows, columns or list(rows[0]))
    else:
        put_table([{name: row} for row in rows], [name])
