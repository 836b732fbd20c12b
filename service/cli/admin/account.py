"""``admin account``: all pages of ``account``, added up, and the schedules that stand out."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from service.cli.admin.client import AdminClient, to_builtins
from service.cli.admin.parameters import build_parameters
from service.cli.admin.times import parse_instant
from service.cli.errors import CommandError
from service.cli.output import print_json, print_line, print_notice, print_table

PAGE_ROWS = 200
MAX_SHOWN = 200
COUNTS = ("slots", "fired", "missed", "superseded", "waiting", "unaccounted")
GROUPS = ("skipped", "swallowed", "absent")
COLUMNS = (
    "scheduleId",
    "tenantId",
    "name",
    "cron",
    "slots",
    "fired",
    "missed",
    "skipped",
    "swallowed",
    "superseded",
    "waiting",
    "unaccounted",
    "absent",
    "unaccountedSlots",
)
_INSTANT = "an age such as 90m, 12h or 7d, or an instant (RFC 3339)"
OPTIONS = build_parameters(
    [
        (
            "from_",
            Annotated[str, typer.Option("--from", help=f"Begin of the window: {_INSTANT}.")],
            "",
        ),
        ("to", Annotated[str, typer.Option(help=f"End of the window: {_INSTANT}.")], ""),
    ]
)


async def account(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Print what became of the slots. Raises CommandError where one is unaccounted for."""
    fields: dict[str, Any] = {"limit": PAGE_ROWS}
    for name, option in (("from", "from_"), ("to", "to")):
        if arguments[option]:
            fields[name] = parse_instant(arguments[option])
    totals: Counter[str] = Counter(schedules=0, **dict.fromkeys(COUNTS, 0))
    notable: list[dict[str, Any]] = []
    hidden = 0
    while True:
        activity = f"{totals['schedules']} schedules so far" if totals["schedules"] else ""
        page = to_builtins(await client.call("account", fields, activity))
        for schedule in page["schedules"]:
            _add(totals, schedule)
            if schedule["fired"] == schedule["slots"]:
                continue
            # Those with an unaccounted slot are shown in any case.
            if len(notable) < MAX_SHOWN or schedule["unaccounted"]:
                notable.append(schedule)
            else:
                hidden += 1
        if "nextCursor" not in page:
            break
        fields["cursor"] = page["nextCursor"]
    _print(client, page, totals, notable, hidden)
    if totals["unaccounted"]:
        raise CommandError(f"{totals['unaccounted']} slots are unaccounted for")


def _add(totals: Counter[str], schedule: Mapping[str, Any]) -> None:
    totals["schedules"] += 1
    for name in COUNTS:
        totals[name] += schedule[name]
    for group in GROUPS:
        for reason, count in schedule[group].items():
            totals[f"{group}: {reason}"] += count


def _print(
    client: AdminClient,
    page: Mapping[str, Any],
    totals: Counter[str],
    notable: list[dict[str, Any]],
    hidden: int,
) -> None:
    if client.options.as_json:
        window = {"from": page["from"], "to": page["to"]}
        print_json({**window, "totals": dict(totals), "schedules": notable, "hidden": hidden})
        return
    times = client.options.times
    print_line(f"from {times.full(page['from'])} to {times.full(page['to'])}")
    for name, count in totals.items():
        style = "red" if name == "unaccounted" and count else ""
        print_line(f"{name:32} {count:>12,}", style=style)
    if notable:
        notable.sort(key=lambda schedule: -schedule["unaccounted"])
        rows = [{**row, **{group: _words(row[group]) for group in GROUPS}} for row in notable]
        shown = [name for name in COLUMNS if any(row[name] for row in rows)]
        print_line()
        print_line(f"schedules whose slots did not all fire ({len(rows) + hidden}):")
        print_table(rows, shown, times)
    if hidden:
        print_notice(f"{hidden} more are not shown: use --tenant")


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())
