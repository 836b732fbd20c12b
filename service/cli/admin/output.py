"""The output of an admin operation, for a person or a program.

What a table or a line looks like is in ``service.cli.output``; here is what is printed of a result.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from contracts.errors import Outcome
from service.cli.admin.client import AdminClient, outcome_error, to_builtins
from service.cli.errors import CommandError
from service.cli.output import print_json, print_line, print_members, print_table
from service.cli.time_display import TimeDisplay

OUTCOME_FIELDS = {"success", "code", "error", "fieldErrors", "retryAfterMs", "nextCursor"}


class OutputOptions(Struct, frozen=True, kw_only=True):
    """How to print an output.

    ``columns`` are those of its tables, all where empty; ``hidden`` are values that only programs
    need, which tables leave out; ``done`` is printed where the output holds
    no values, ``hint`` where the service refuses and lists the reasons.
    """

    columns: Sequence[str] = ()
    hidden: Sequence[str] = ()
    done: str = "done"
    hint: str = ""
    dry_run: bool = False


def print_result(client: AdminClient, output: Any, options: OutputOptions) -> None:  # noqa: ANN401 - any operation's output
    """Print an output. Raises CommandError where it is negative, after printing its lists."""
    refused = isinstance(output, Outcome) and not output.success
    values = {
        name: value for name, value in to_builtins(output).items() if name not in OUTCOME_FIELDS
    }
    if refused:
        values = {
            name: value for name, value in values.items() if isinstance(value, list) and value
        }
    if client.options.as_json:
        print_json(output)
    elif values or not refused:
        values = {name: value for name, value in values.items() if name not in options.hidden}
        if options.dry_run:
            print_line("dry run: no changes made")
        times = client.options.times
        _print_values(values, options, times, titled=isinstance(output, Outcome))
    if refused:
        error = outcome_error(output)
        hint = f"; {options.hint}" if options.hint and values else ""
        raise CommandError(f"{error}{hint}", error.status)


def _print_values(
    values: Mapping[str, Any], options: OutputOptions, times: TimeDisplay, *, titled: bool
) -> None:
    """Print single values and Structs by name, and lists as tables.

    A page holds one list, which needs no title; a change may hold several, so each is ``titled``.
    """
    if not values:
        print_line(options.done)
    scalars = {name: value for name, value in values.items() if not isinstance(value, list | dict)}
    # What was asked for comes first, what is beside it after.
    object_first = isinstance(next(iter(values.values()), None), dict)
    if scalars and not object_first:
        print_members(scalars, times)
    titled = titled or len(values) - len(scalars) > 1
    dicts = [name for name, value in values.items() if isinstance(value, dict)]
    for name, value in values.items():
        if isinstance(value, dict):
            # What stands beside the object that was asked for is named by what it is.
            beside = name != dicts[0]
            members = {f"{name}.{member}": text for member, text in value.items()}
            shown = {name: text for name, text in value.items() if name not in options.hidden}
            print_members(members if beside else with_words(shown), times)
            if scalars and object_first and not beside:
                print_members(scalars, times)
        elif isinstance(value, list):
            _print_list(name, value, options.columns, times, titled=titled)


def _print_list(
    name: str, rows: Sequence[Any], columns: Sequence[str], times: TimeDisplay, *, titled: bool
) -> None:
    if not rows:
        print_line(f"no {name}")
        return
    if titled:
        print_line(f"{name} ({len(rows)}):")
    if isinstance(rows[0], dict):
        rows = [with_words(row) for row in rows] if "words" in columns else rows
        # The columns of a command are those of its first list; another one shows all of its own.
        known = any(column.partition(".")[0] in rows[0] for column in columns)
        print_table(rows, columns if known else list(rows[0]), times)
    else:
        print_table([{name: row} for row in rows], [name], times)


def with_words(schedule: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schedule with its cron expression in words behind it; other maps unchanged."""
    if not {"cron", "timezone"} <= schedule.keys() or "words" in schedule:
        return schedule
    # Imported here: only tables of schedules need a cron expression read.
    from service.rules.cron_words import describe  # noqa: PLC0415 - see above
    from service.rules.planning import UnplannableError, read  # noqa: PLC0415 - likewise

    try:
        cron, zone = read(schedule["cron"], schedule["timezone"])
        words = describe(cron, zone.key)
    except UnplannableError as error:
        words = str(error)
    members: dict[str, Any] = {}
    for name, value in schedule.items():
        members[name] = value
        if name == "cron":
            members["words"] = words
    return members
