"""Prints the progress of the demo and the development stack: steps, tables, a countdown."""

import asyncio
import itertools
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

_step_numbers = itertools.count(1)
COUNTDOWN_INTERVAL_WITHOUT_TERMINAL_S = 10


def step(text: str) -> None:
    """Print a numbered step."""
    print(f"{next(_step_numbers):3}. {text}", flush=True)


def detail(text: str) -> None:
    """Print lines that belong to the current step."""
    for line in text.splitlines():
        print(f"       {line}", flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows of short texts under their headings."""
    lines = [list(map(str, row)) for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        detail("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


async def countdown(until: datetime) -> None:
    """Wait until an instant, and print the seconds left."""
    on_terminal = sys.stdout.isatty()
    interval_s = 1 if on_terminal else COUNTDOWN_INTERVAL_WITHOUT_TERMINAL_S
    while (left := until - datetime.now(until.tzinfo)) > timedelta(0):
        seconds = left.total_seconds()
        text = f"{seconds:4.0f} s left"
        if on_terminal:
            print(f"\r       {text} ", end="", flush=True)
        else:
            detail(text)
        await asyncio.sleep(min(seconds, interval_s))
    if on_terminal:
        print("\r       due now     ", flush=True)
