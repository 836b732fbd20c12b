"""How commands print: lines and tables for people, JSON for programs, progress on a terminal.

What an admin operation's result looks like is decided in ``service.cli.admin.output``.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from service.cli import terminal
from service.cli.errors import EXIT_BROKEN_PIPE, CommandError
from service.cli.time_display import TimeDisplay, is_instant
from service.rules.text import escape_controls

EMPTY_CELL = "-"
IN_UTC = TimeDisplay()
PROGRESS_DELAY_S = 1.0
"""Nothing is shown for a wait shorter than this."""
PROGRESS_INTERVAL_S = 0.5


def print_line(text: str = "", style: str = "") -> None:
    """Print a line, or several, of the result, on a terminal in a style.

    Raises CommandError when the reader is gone.
    """
    escaped = escape_controls(text, keep_lines=True)
    try:
        sys.stdout.write(f"{terminal.coloured(escaped, style)}\n")
    except BrokenPipeError:
        raise CommandError("", EXIT_BROKEN_PIPE) from None


def print_notice(text: str) -> None:
    """Print a line that is not part of the result, to standard error."""
    print(escape_controls(text), file=sys.stderr)


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    print_line(json_text(value))


def json_text(value: object) -> str:
    """Return a value as indented JSON, with escapes for what would control a terminal."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return escape_controls(text, keep_lines=True)


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], times: TimeDisplay = IN_UTC
) -> None:
    """Print maps as a table, their wire names as headings; ``a.b`` is a member of a member.

    On a terminal it fits the width: ids are shortened, times are short, long cells are folded.
    """
    headings = [heading(column) for column in columns]
    values = [[_member(row, column) for column in columns] for row in rows]
    if terminal.is_terminal():
        hidden = terminal.print_fitted(
            headings, [[_short_cell(value, times) for value in row] for row in values]
        )
        if hidden:
            print_notice(f"no room for {', '.join(hidden)}: a wider terminal or --json shows them")
        return
    lines = [headings, *([cell(value, times) for value in row] for row in values)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print_line("  ".join(padded).rstrip())


def _member(row: Mapping[str, Any], path: str) -> object:
    value: object = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def print_members(members: Mapping[str, Any], times: TimeDisplay = IN_UTC) -> None:
    """Print a map, one line per member; times in UTC, in the zone, and how far from now."""
    width = max(map(len, map(heading, members)), default=0)
    for name, value in members.items():
        is_time = isinstance(value, str) and is_instant(value)
        text = times.full(value) if is_time else cell(value)
        print_line(f"{heading(name).ljust(width)}  {text}")


def heading(name: str) -> str:
    """Return a wire name as a heading: ``nextRunAt`` as ``NEXT RUN AT``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|\.", " ", name).upper()


def cell(value: object, times: TimeDisplay = IN_UTC) -> str:
    """Return a value as one line, without control characters: texts come from tenants."""
    if value is None or value == "":
        return EMPTY_CELL
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return times.exact(text) if is_instant(text) else escape_controls(text)


def _short_cell(value: object, times: TimeDisplay) -> str:
    if isinstance(value, str) and is_instant(value):
        return times.short(value)
    if isinstance(value, Mapping):
        members = (f"{cell(name)} {_short_cell(each, times)}" for name, each in value.items())
        return ", ".join(members) or EMPTY_CELL
    return terminal.short_id(cell(value, times))


@asynccontextmanager
async def progress(activity: Callable[[], str]) -> AsyncIterator[None]:
    """Show on a terminal what the body waits for, and for how long, after a short delay."""
    if not sys.stderr.isatty():
        yield
        return
    display = asyncio.create_task(_show_progress(activity))
    try:
        yield
    finally:
        display.cancel()
        with suppress(asyncio.CancelledError):
            await display


async def _show_progress(activity: Callable[[], str]) -> None:
    started = asyncio.get_running_loop().time()
    await asyncio.sleep(PROGRESS_DELAY_S)
    try:
        while True:
            elapsed = asyncio.get_running_loop().time() - started
            print(
                f"\r\x1b[K{escape_controls(activity())} … {elapsed:.0f} s",
                end="",
                file=sys.stderr,
                flush=True,
            )
            await asyncio.sleep(PROGRESS_INTERVAL_S)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
