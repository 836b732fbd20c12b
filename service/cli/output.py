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

from service.cli.errors import EXIT_BROKEN_PIPE, CommandError
from service.rules.text import escape_controls

EMPTY_CELL = "-"
WIRE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")
PROGRESS_DELAY_S = 1.0
"""Nothing is shown for a wait shorter than this."""
PROGRESS_INTERVAL_S = 0.5


def print_line(text: str = "") -> None:
    """Print a line, or several, of the result. Raises CommandError when the reader is gone."""
    try:
        sys.stdout.write(escape_controls(text, keep_lines=True) + "\n")
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


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print maps as a table, their wire names as headings; ``a.b`` is a member of a member."""
    lines = [[heading(column) for column in columns]]
    lines += [[cell(_member(row, column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print_line("  ".join(padded).rstrip())


def _member(row: Mapping[str, Any], path: str) -> object:
    value: object = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def print_members(members: Mapping[str, Any]) -> None:
    """Print a map, one line per member."""
    width = max(map(len, map(heading, members)), default=0)
    for name, value in members.items():
        print_line(f"{heading(name).ljust(width)}  {cell(value)}")


def heading(name: str) -> str:
    """Return a wire name as a heading: ``nextRunAt`` as ``NEXT RUN AT``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|\.", " ", name).upper()


def cell(value: object) -> str:
    """Return a value as one line, without control characters: texts come from tenants."""
    if value is None or value == "":
        return EMPTY_CELL
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if time := WIRE_TIME.fullmatch(text):
        return f"{time[1]} {time[2]}"
    return escape_controls(text)


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
