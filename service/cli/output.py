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

EMPTY_CELL = "-"
WIRE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
PROGRESS_DELAY_S = 1.0
"""Nothing is shown for a wait shorter than this."""
PROGRESS_INTERVAL_S = 0.5


def print_line(text: str = "") -> None:
    """Print a line of the result. Raises CommandError when the pipe's reader is gone."""
    try:
        sys.stdout.write(text + "\n")
    except BrokenPipeError:
        raise CommandError("", EXIT_BROKEN_PIPE) from None


def print_notice(text: str) -> None:
    """Print a line that is not part of the result, to standard error."""
    print(text, file=sys.stderr)


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    print_line(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print maps as a table, their wire names as headings."""
    lines = [[heading(column) for column in columns]]
    lines += [[cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print_line("  ".join(padded).rstrip())


def print_members(members: Mapping[str, Any]) -> None:
    """Print a map, one line per member."""
    width = max(map(len, map(heading, members)), default=0)
    for name, value in members.items():
        print_line(f"{heading(name).ljust(width)}  {cell(value)}")


def heading(name: str) -> str:
    """Return a wire name as a heading: ``nextRunAt`` as ``NEXT RUN AT``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()


def cell(value: object) -> str:
    """Return a value as one line, without control characters: texts come from tenants."""
    if value is None or value == "":
        return EMPTY_CELL
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if time := WIRE_TIME.fullmatch(text):
        return f"{time[1]} {time[2]}"
    return CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", text)


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
            print(f"\r\x1b[K{activity()} … {elapsed:.0f} s", end="", file=sys.stderr, flush=True)
            await asyncio.sleep(PROGRESS_INTERVAL_S)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
