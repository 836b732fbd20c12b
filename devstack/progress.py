"""What the demo and the development stack say as they go."""

import asyncio
import itertools
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

numbers = itertools.count(1)
COUNTDOWN_WITHOUT_TERMINAL_SECONDS = 10


def step(text: str) -> None:
    """Begin a numbered step."""
    print(f"{next(numbers):3}. {text}", flush=True)


def detail(text: str) -> None:
    """Say something that belongs to the step."""
    for line in text.splitlines():
        print(f"       {line}", flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Show rows of short texts under their headings."""
    lines = [list(map(str, row)) for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        detail("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


async def countdown(until: datetime) -> None:
    """Wait until an instant, showing how long that still takes."""
    on_terminal = sys.stdout.isatty()
    every = 1 if on_terminal else COUNTDOWN_WITHOUT_TERMINAL_SECONDS
    while (left := until - datetime.now(until.tzinfo)) > timedelta(0):
        seconds = left.total_seconds()
        text = f"{seconds:4.0f} s to go"
        if on_terminal:
            print(f"\r       {text} ", end="", flush=True)
        else:
            detail(text)
        await asyncio.sleep(min(seconds, every))
    if on_terminal:
        print("\r       it is time  ", flush=True)
