"""``cron``: what an expression means, when it is due, and what would be accepted in its place."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from contracts.times import read_time, wire_time
from service.cli.errors import EXIT_INVALID, EXIT_USAGE, CommandError
from service.cli.output import print_json, print_line, print_table
from service.rules import zones
from service.rules.cron import Cron, InvalidCronError, parse
from service.rules.cron_words import describe
from service.rules.fields import INVALID_TIMEZONE
from service.rules.hints import suggest_cron, suggest_timezone
from service.rules.limits import Limits
from service.rules.slot_preview import preview

MAX_COUNT = 1000


def cron(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="Five cron fields, quoted.")],
    timezone: Annotated[str, typer.Option(help="IANA time zone.")] = "UTC",
    count: Annotated[int, typer.Option(help="How many slots to list.", min=1, max=MAX_COUNT)] = 10,
    start: Annotated[
        str | None, typer.Option("--from", help="List slots after this instant (RFC 3339).")
    ] = None,
    min_interval: Annotated[
        int, typer.Option(help="Smallest interval allowed, in minutes.", min=1, max=1440)
    ] = Limits().min_interval_minutes,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain a cron expression and list its next slots. Works offline.

    \b
    Examples:
      ext-scheduler cron '30 2 * * 1-5' --timezone Europe/Berlin
      ext-scheduler cron '30 2 * * *' --timezone Europe/Berlin --from 2027-03-26T00:00:00Z
      ext-scheduler cron @daily              the error names what to write instead
    """
    after = _instant(start)
    accepted = _accepted(expression, min_interval)
    zone = zones.load(timezone.strip())
    if zone is None:
        raise _refused(INVALID_TIMEZONE, suggest_timezone(timezone))
    try:
        slots = preview(accepted, zone, after, count)
    except (ValueError, OverflowError):
        raise CommandError(f"--from {start}: too far in the future", EXIT_USAGE) from None
    words = describe(accepted, timezone.strip())
    rows = [
        {"utc": wire_time(slot.utc), "local": slot.local.isoformat(), "remark": slot.remark}
        for slot in slots
    ]
    if as_json:
        name = timezone.strip()
        print_json({"cron": accepted.text, "timezone": name, "words": words, "slots": rows})
        return
    print_line(words)
    print_line()
    remarked = any(slot.remark for slot in slots)
    people = [
        {**row, "local": f"{slot.local:%a %Y-%m-%d %H:%M %z}"}
        for row, slot in zip(rows, slots, strict=True)
    ]
    print_table(people, ["utc", "local", "remark"] if remarked else ["utc", "local"])


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        return read_time(text)
    except ValueError:
        raise CommandError(f"--from {text}: not an RFC 3339 instant", EXIT_USAGE) from None


def _accepted(expression: str, min_interval: int) -> Cron:
    try:
        return parse(expression, min_interval_minutes=min_interval)
    except InvalidCronError as error:
        hint = suggest_cron(expression, min_interval_minutes=min_interval)
        raise _refused(str(error), hint) from None


def _refused(message: str, hint: str | None) -> CommandError:
    advice = "" if hint is None else f"; accepted would be: {hint}"
    return CommandError(f"{message}{advice}", EXIT_INVALID)
