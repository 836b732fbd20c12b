"""What commands print: plain tables for people, JSON for programs, progress for the impatient."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from service.cli.errors import EXIT_READER_GONE, CommandError

NOTHING = "-"
TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
PATIENCE_S = 1.0
"""Whoever waits longer than this is told what for."""


def put(text: str = "") -> None:
    """Print a line of the result. Raises CommandError when nobody reads it any more."""
    try:
        sys.stdout.write(text + "\n")
    except BrokenPipeError:
        raise CommandError("", EXIT_READER_GONE) from None


def note(text: str) -> None:
    """Print a remark that is no part of the result."""
    print(text, file=sys.stderr)


def put_json(value: object) -> None:
    """Print a value as indented JSON."""
    put(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def put_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print maps as a table, their wire names as headings."""
    lines = [[heading(column) for column in columns]]
    lines += [[cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        put("  ".join(padded).rstrip())


def put_members(members: Mapping[str, Any]) -> None:
    """Print a map with a line per member."""
    width = max(map(len, map(heading, members)), default=0)
    for name, value in members.items():
        put(f"{heading(name).ljust(width)}  {cell(value)}")


def heading(name: str) -> str:
    """Write a wire name as a heading: ``nextRunAt`` as ``NEXT RUN AT``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()


def cell(value: object) -> str:
    """Write a value in one line. Texts come from tenants, so nothing in them reaches a terminal."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if at := TIME.fullmatch(text):
        return f"{at[1]} {at[2]}"
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


@asynccontextmanager
async def progress(told: Callable[[], str]) -> AsyncIterator[None]:
    """Say on a terminal, after a moment, what is being waited for and for how long."""
    if not sys.stderr.isatty():
        yield
        return
    telling = asyncio.create_task(_tell(told))
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


async def _tell(told: Callable[[], str]) -> None:
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(PATIENCE_S)
    try:
        while True:
            seconds = asyncio.get_running_loop().time() - begun
            print(f"\r\x1b[K{told()} … {seconds:.0f} s", end="", file=sys.stderr, flush=True)
            await asyncio.sleep(0.5)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
